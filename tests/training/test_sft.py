"""SFT trains on exactly what the mixture supervises, in the mixture's order, and seals what it trained."""

import json
from pathlib import Path
from typing import Any

import pytest
from made_jobs import LORA, run_here, sft_job

from jobs.job import Job, JobInput
from lineage.errors import TrainingError
from recipes.errors import DONE, REFUSED
from recipes.stages import Sft
from tests import tiny
from training import rows


@pytest.fixture(scope="module")
def with_lora(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed SFT artefact with an adapter."""
    job = sft_job(tiny_base, tmp_path_factory.mktemp("lora"), lora=LORA)
    assert run_here(job) == DONE
    found = job.store.find(job.request)
    assert found is not None
    return found.path


def test_the_artefact_holds_checkpoint_adapter_and_history(with_lora: Path, tiny_base: Path) -> None:
    files = {p.relative_to(with_lora).as_posix() for p in with_lora.rglob("*") if p.is_file()}
    start = {p.name for p in tiny_base.iterdir()}
    adapter = {"adapter/adapter_config.json", "adapter/adapter_model.safetensors"}
    assert files == start | adapter | {"history.json"}
    for name in start - {"model.safetensors", ".record.json"}:
        assert (with_lora / name).read_bytes() == (tiny_base / name).read_bytes(), name
    config = json.loads((with_lora / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] is None
    assert config["target_modules"] == sorted(config["target_modules"])


def test_the_record_says_what_was_trained(with_lora: Path) -> None:
    record = json.loads((with_lora / ".record.json").read_text(encoding="utf-8"))
    metrics = record["metrics"]
    history = json.loads((with_lora / "history.json").read_text(encoding="utf-8"))
    assert metrics["steps"] == len(history) == 6
    assert metrics["rows"] == 24
    assert metrics["loss_last"] == history[-1]["loss"] < metrics["loss_first"] == history[0]["loss"]
    assert record["files"]["history.json"]["informative"]
    assert not any(name.startswith("checkpoints") for name in record["files"])
    assert {name for name, check in metrics["checks"].items() if check["passed"]} == {
        *("labels_equal_mask", "pads_by_length", "end_of_turn_learned", "one_bos"),
        *("frozen_unmoved", "adapter_whole", "merged_equals_adapter"),
        *("reload_equal", "served_as_trained"),
    }


@pytest.mark.invariants
def test_merged_weights_compute_what_start_and_adapter_do(with_lora: Path, tiny_base: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    apart = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_base), with_lora / "adapter").eval()
    merged = AutoModelForCausalLM.from_pretrained(with_lora).eval()
    ids = torch.arange(5, 45)[None]
    with torch.no_grad():
        difference = (apart(ids).logits - merged(ids).logits).abs().max()
        start = AutoModelForCausalLM.from_pretrained(tiny_base).eval()(ids).logits
        trained_by = (merged(ids).logits - start).abs().max()
    assert difference < 1e-4 < trained_by


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_a_bfloat16_start_gives_a_bfloat16_checkpoint_that_reloads_equal(
    tmp_path: Path, lora: dict[str, Any] | None
) -> None:
    from safetensors import safe_open

    start = tiny.sealed(tmp_path, "base", lambda work: tiny.write_checkpoint(work, dtype="bfloat16")).path
    job = sft_job(start, tmp_path, rows=8, lora=lora, precision="bf16")
    assert run_here(job) == DONE
    found = job.store.find(job.request)
    assert found is not None
    assert found.failed_checks == []
    with safe_open(found.path / "model.safetensors", "pt") as weights:
        assert {weights.get_slice(name).get_dtype() for name in weights.keys()} == {"BF16"}  # noqa: SIM118


@pytest.mark.invariants
def test_a_mixture_whose_rows_never_end_a_turn_is_refused_before_a_step(
    tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def without_ends(work: Path) -> None:
        tiny.write_mixture(work, tiny_base, 8)
        table = pq.read_table(work / "rows.parquet")
        masks = [[counts and token != 2 for token, counts in zip(*row, strict=True)] for row in _ids_and_masks(table)]
        column = table.column_names.index("supervised")
        pq.write_table(table.set_column(column, "supervised", pa.array(masks)), work / "rows.parquet")

    bad = tiny.sealed(tmp_path, "mixture", without_ends, bad=True)
    job = sft_job(tiny_base, tmp_path, rows=8)
    job = job.model_copy(update={"inputs": {**job.inputs, "mixture": JobInput.of(bad)}})
    assert run_here(job) == REFUSED
    assert "before the first step: rows of the first batch without an end of turn" in capsys.readouterr().out


def _ids_and_masks(table: Any) -> list[tuple[list[int], list[bool]]]:
    return list(zip(table["input_ids"].to_pylist(), table["supervised"].to_pylist(), strict=True))


def test_every_step_takes_its_own_rows_of_the_mixture() -> None:
    stage = Sft(kind="sft", mixture="m", start="base", learning_rate=0.1, batch_rows=4, seed=0, epochs=1.5)
    plan = rows.plan([3, 9, 5, 7, 8, 8, 1, 2, 4, 6], stage)
    assert plan.order == [1, 3, 2, 0, 4, 5, 7, 6, 9, 8]
    assert plan.steps == 5
    assert plan.tokens == [0, 24, 43, 53, 77, 96]
    assert plan.rows == 18


def test_micro_batches_hold_rows_of_like_lengths_within_the_memory_of_equal_ones() -> None:
    stage = Sft(kind="sft", mixture="m", start="base", learning_rate=0.1, batch_rows=8, seed=0)
    plan = rows.plan([50, 10, 9, 10, 9, 30, 10, 9, 7, 7, 7], stage)
    assert rows.micro_batches(plan, 4) == [[0, 1], [2, 3, 4, 5, 6, 7], [8, 9, 10]]
    assert rows.micro_batches(plan, 2) == [[0], [1], [2, 3, 4], [5, 6, 7], [8], [9, 10]]
    assert rows.micro_batches(plan, 1) == [[place] for place in range(11)]


def test_how_rows_are_divided_changes_no_step(tiny_base: Path, tmp_path: Path) -> None:
    losses = []
    for size in (1, 4):
        job = sft_job(tiny_base, tmp_path / str(size))
        execution = {**job.config["execution"], "micro_batch": size}
        job = job.model_copy(update={"config": {**job.config, "execution": execution}, "execution": execution})
        assert run_here(job) == DONE
        found = job.store.find(job.request)
        assert found is not None
        history = json.loads((found.path / "history.json").read_text())
        losses.append([entry[name] for entry in history for name in ("loss", "grad_norm")])
    assert len(losses[0]) == 2 * 6
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def _weighed_job(base: Path, home: Path, weight_of: Any, **changes: Any) -> Job:
    made = tiny.sealed(
        home, "mixture", lambda work: tiny.write_mixture(work, base, 8, weight_of=weight_of), of=str(home)
    )
    job = sft_job(base, home, rows=8, **changes)
    return job.model_copy(update={"inputs": {**job.inputs, "mixture": JobInput.of(made)}})


def _history(job: Job) -> list[dict[str, float]]:
    assert run_here(job) == DONE
    found = job.store.find(job.request)
    assert found is not None
    assert found.failed_checks == []
    told: list[dict[str, float]] = json.loads((found.path / "history.json").read_text())
    return told


@pytest.mark.parametrize("packing", [False, True], ids=["padded", "packed"])
def test_rows_count_in_the_loss_as_much_as_they_say(tiny_base: Path, tmp_path: Path, packing: bool) -> None:
    execution = {"micro_batch": 2, "packing": packing}
    told = {
        name: _history(_weighed_job(tiny_base, tmp_path / name, weight_of, execution=execution, max_grad_norm=1000.0))[
            0
        ]
        for name, weight_of in {
            "plain": lambda row: 1.0,
            "half": lambda row: 0.5,
            "one": lambda row: 1.0 if row == 0 else 1e-9,
            "others": lambda row: 1e-9 if row == 0 else 1.0,
        }.items()
    }
    for name in ("loss", "grad_norm"):
        assert told["half"][name] == pytest.approx(told["plain"][name] / 2, rel=1e-4)
    assert told["one"]["loss"] + told["others"]["loss"] == pytest.approx(told["plain"]["loss"], rel=1e-4)
    assert 0 < told["one"]["loss"] < told["others"]["loss"]


def test_weights_that_the_loss_does_not_hear_are_refused(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from training.loop import batching

    def by_row(row: int) -> float:
        return 0.5 if row == 3 else 1.0

    assert run_here(_weighed_job(tiny_base, tmp_path / "dft", by_row, args={"loss_type": "dft"})) == REFUSED
    assert "args.loss_type: rows of the mixture have weights of the loss" in capsys.readouterr().out
    monkeypatch.setattr(batching, "_weighed", lambda model, weights, **inputs: model(**inputs))
    assert run_here(_weighed_job(tiny_base, tmp_path / "deaf", by_row)) == REFUSED
    assert "they are not heard" in capsys.readouterr().out


def test_a_row_longer_than_the_model_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    from types import SimpleNamespace

    plan = rows.plan([3, 9], Sft(kind="sft", mixture="m", start="base", learning_rate=0.1, batch_rows=2, seed=0))
    with pytest.raises(TrainingError, match="the longest row has 9 tokens, the model 8"):
        rows.must_fit(plan, SimpleNamespace(max_position_embeddings=8))


def test_a_start_that_lacks_weights_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    import shutil

    import torch
    from safetensors.torch import load_file, save_file

    from training.weights import load

    shutil.copytree(tiny_base, tmp_path, dirs_exist_ok=True)
    tensors = load_file(tiny_base / "model.safetensors")
    del tensors["model.layers.0.mlp.up_proj.weight"]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TrainingError, match=r"1 weights are missing or of another shape, as .*up_proj"):
        load(tmp_path, torch.float32)
