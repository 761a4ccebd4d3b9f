"""What happens around the steps: what ends them with a message, and dying between the last step and the seal."""

import errno
from pathlib import Path
from typing import Any

import pytest
from made_jobs import run_here, sft_job, weights_of

from jobs.job import Job
from lineage.errors import Interrupted, TrainingError
from recipes.errors import DONE, FAILED, INTERRUPTED, REFUSED
from recipes.stages import Kto, Sft
from training import rows


def checkpoints_of(job: Job) -> list[str]:
    return sorted(path.name for path in job.store.work_path(job.request).glob("checkpoints/checkpoint-*"))


@pytest.mark.parametrize(("rows_of_a_step", "micro_batch", "fewer"), [(8, 4, 2), (9, 9, 3), (10, 5, 2), (7, 7, 1)])
def test_running_out_of_memory_says_what_to_change(
    tmp_path: Path, rows_of_a_step: int, micro_batch: int, fewer: int
) -> None:
    from training.loop.loop import memory_explained

    fields = {"kind": "sft", "mixture": "m", "start": "base", "learning_rate": 0.1, "seed": 0}
    stage = Sft.model_validate({**fields, "batch_rows": rows_of_a_step, "execution": {"micro_batch": micro_batch}})
    said = rf"of {micro_batch} rows of up to 9 tokens; try execution\.micro_batch {fewer}, .* or lora$"
    with (
        pytest.raises(TrainingError, match=said),
        memory_explained(stage, rows.plan([3, 9], stage), tmp_path),
    ):
        raise MemoryError


def test_kto_that_runs_out_of_memory_is_told_its_own_field(tmp_path: Path) -> None:
    from training.loop.loop import memory_explained

    fields = {"kind": "kto", "preferences": "p", "start": "base", "learning_rate": 0.1, "batch_rows": 8, "seed": 0}
    stage = Kto.model_validate({**fields, "beta": 0.1, "kl_rows": 8})
    with (
        pytest.raises(TrainingError, match=r"try .*, or kl_rows 4, or lora"),
        memory_explained(stage, rows.plan([3, 9], stage), tmp_path),
    ):
        raise MemoryError


def test_a_training_that_had_finished_is_sealed_without_another_step(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training import weights

    whole = sft_job(tiny_base, tmp_path / "whole", max_steps=3)
    assert run_here(whole) == DONE
    job = sft_job(tiny_base, tmp_path / "cut", max_steps=3)

    def cut(*_: object) -> None:
        raise Interrupted("cut off before the weights were written")

    with monkeypatch.context() as patch:
        patch.setattr(weights, "save", cut)
        assert run_here(job) == INTERRUPTED
    assert run_here(job) == DONE
    found = job.store.find(job.request)
    assert found is not None
    assert found.metrics["resumed_from_step"] == found.metrics["steps"] == 3
    assert weights_of(job) == weights_of(whole)


def test_a_refused_training_without_a_finished_checkpoint_leaves_nothing(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.Trainer.training_step", _no_memory)
    job = sft_job(tiny_base, tmp_path)
    assert run_here(job) == REFUSED
    assert not job.store.work_path(job.request).exists()


def _no_memory(*_: Any, **__: Any) -> None:
    raise MemoryError


def test_a_training_that_diverges_keeps_its_checkpoints_and_says_where(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from training.loop.batching import TrainerOfLikeLengths

    compute_loss = TrainerOfLikeLengths.compute_loss

    def diverging(self: Any, *arguments: Any, **named: Any) -> Any:
        return compute_loss(self, *arguments, **named) * (float("nan") if self.state.global_step == 4 else 1)

    monkeypatch.setattr(TrainerOfLikeLengths, "compute_loss", diverging)
    job = sft_job(tiny_base, tmp_path)
    assert run_here(job) == REFUSED
    assert checkpoints_of(job) == ["checkpoint-2", "checkpoint-4"]
    folder = job.store.work_path(job.request) / "checkpoints"
    output = capsys.readouterr().out
    assert "the training has diverged; lower learning_rate, raise warmup_share, or train in fp32" in output
    assert f"this one's checkpoints, up to step 4, stay in {folder}" in output


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "out of memory after the last step, while the trained model was tried and saved"),
        (OSError(errno.ENOSPC, "No space left on device"), "free some space and run the job again"),
    ],
    ids=["memory", "disk"],
)
def test_a_model_that_cannot_be_saved_is_not_trained_again(
    tiny_base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    said: str,
) -> None:
    from training import weights

    job = sft_job(tiny_base, tmp_path, max_steps=3)

    def half_saved(_: Any, start: Path, work: Path, *__: Any) -> None:
        (work / "model.safetensors").write_bytes(b"half")
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(weights, "_save_weights", half_saved)
        assert run_here(job) == FAILED
    assert said in capsys.readouterr().out
    assert [path.name for path in job.store.work_path(job.request).iterdir()] == ["checkpoints"]
    monkeypatch.setattr("transformers.Trainer.training_step", _no_memory)
    assert run_here(job) == DONE
