"""How a machine trains changes results by rounding at most; what a training costs and says is recorded."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from made_jobs import LORA, run_here, sft_job

from jobs.job import Job
from lineage.errors import TrainingError
from recipes.errors import DONE, REFUSED
from tests import tiny
from training import rows
from training.loop import measures
from training.loop.samples import prompts


def trained(base: Path, home: Path, execution: dict[str, Any], **changes: Any) -> tuple[Job, Path, list[float]]:
    """A job done with this execution: where its result lies, losses and gradient norms of its steps."""
    job = sft_job(base, home, execution={"threads": 1, **execution}, **changes)
    job = job.model_copy(update={"config": {**job.config, "execution": job.execution}})
    assert run_here(job) == DONE
    found = job.store.find(job.request)
    assert found is not None
    history = json.loads((found.path / "history.json").read_text())
    return job, found.path, [entry[name] for entry in history for name in ("loss", "grad_norm")]


def test_kernels_and_layouts_change_no_step(tiny_base: Path, tmp_path: Path) -> None:
    """Packed rows that saw each other would change the gradient, by more than their loss."""
    ways = {
        "padded": {"micro_batch": 4},
        "packed": {"micro_batch": 4, "packing": True},
        "eager": {"micro_batch": 4, "attention": "eager"},
        "recomputed": {"micro_batch": 4, "gradient_checkpointing": True},
    }
    identities, steps = set(), {}
    for name, execution in ways.items():
        job, _, steps[name] = trained(tiny_base, tmp_path / name, execution)
        identities.add(job.request.fingerprint)
    assert len(identities) == 1
    for name in ways:
        assert steps[name] == pytest.approx(steps["padded"], rel=1e-4), name


@pytest.mark.parametrize(
    ("execution", "said"),
    [
        ({"liger": True}, "execution.liger: Liger is not installed"),
        ({"attention": "flash_attention_2"}, "execution.attention flash_attention_2: not installed, or no GPU"),
    ],
)
def test_a_missing_library_is_one_message(
    tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], execution: dict[str, Any], said: str
) -> None:
    job = sft_job(tiny_base, tmp_path, execution=execution)
    job = job.model_copy(update={"config": {**job.config, "execution": job.execution}})
    assert run_here(job) == REFUSED
    assert said in capsys.readouterr().out


def test_samples_costs_and_rates_are_recorded_and_change_no_weight(tiny_base: Path, tmp_path: Path) -> None:
    silent, _, steps = trained(tiny_base, tmp_path / "silent", {"micro_batch": 2}, lora=LORA)
    home = tmp_path / "talking"
    job = sft_job(tiny_base, home, lora=LORA)
    sealed = tiny.sealed(home, "mixture", lambda work: _with_validation(work, tiny_base), split=True)
    job = _with_inputs(job, sealed, {"micro_batch": 2, "samples_every": 4, "price_per_device_hour": 36.0})
    assert run_here(job) == DONE
    found = job.store.find(job.request)
    assert found is not None
    history = json.loads((found.path / "history.json").read_text())
    assert [entry[name] for entry in history for name in ("loss", "grad_norm")] == steps
    answers = json.loads((found.path / "samples.json").read_text())
    assert [entry["step"] for entry in answers] == [4, 4, 4, 4, 6, 6, 6, 6]
    assert all("Say" in entry["prompt"] for entry in answers)
    metrics = found.metrics
    assert metrics["cost"] == pytest.approx(metrics["device_seconds"] / 100)
    assert metrics["currency"] == "USD"
    assert metrics["padded_tokens_per_s"] > metrics["tokens_per_s"] > 0
    assert "mfu_percent" not in metrics
    assert silent.store.find(silent.request) is not None


def test_prompts_are_never_those_of_sensitive_sources(tiny_base: Path, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    _with_validation(tmp_path, tiny_base)
    table = pq.read_table(tmp_path / "validation.parquet")
    secret = pa.array([True, False, True] + [False] * (len(table) - 3))
    at = table.schema.get_field_index("sensitive")
    pq.write_table(table.set_column(at, "sensitive", secret), tmp_path / "validation.parquet")
    ids = table["input_ids"].to_pylist()
    chosen = [ids[row] for row in (1, 3, 4, 5)]
    assert prompts(tmp_path) == [row[: len(prompt)] for row, prompt in zip(chosen, prompts(tmp_path), strict=True)]
    (tmp_path / "validation.parquet").unlink()
    with pytest.raises(TrainingError, match=r"set splits\.validation or leave samples_every out"):
        prompts(tmp_path)


def test_operations_follow_the_model_and_frozen_weights_save_a_third(tiny_base: Path, tmp_path: Path) -> None:
    """By hand: 6 operations a weight and token, the embedding counted once as the head, and attention over 10."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(tiny_base)
    trainer = SimpleNamespace(model=SimpleNamespace(config=config))
    job = sft_job(tiny_base, tmp_path)
    plan = rows.plan([10] * 4, SimpleNamespace(batch_rows=4, epochs=1.0, max_steps=None))  # type: ignore[arg-type]
    layer = 32 * 32 * 2 + 2 * 32 * 16 + 3 * 32 * 64
    by_hand = 6 * (2 * layer + 32 * config.vocab_size) + 3 * 2 * 4 * 32 * 10
    assert measures._operations_per_token(trainer, plan, job) == by_hand
    frozen = job.model_copy(update={"config": {**job.config, "lora": LORA}})
    assert measures._operations_per_token(trainer, plan, frozen) == pytest.approx(by_hand * 2 / 3)


def _with_validation(folder: Path, base: Path) -> None:
    tiny.write_mixture(folder, base, 8, seed=5)
    (folder / "rows.parquet").rename(folder / "validation.parquet")
    tiny.write_mixture(folder, base, 24)


def _with_inputs(job: Job, mixture: Any, execution: dict[str, Any]) -> Job:
    from jobs.job import JobInput
    from recipes.execution import TrainingExecution

    how = TrainingExecution.model_validate({"threads": 1, **execution}).model_dump(mode="json")
    inputs = {**job.inputs, "mixture": JobInput.of(mixture)}
    return job.model_copy(update={"inputs": inputs, "execution": how, "config": {**job.config, "execution": how}})
