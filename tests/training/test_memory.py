"""The longest batch is tried first and leaves no trace; a batch that is too large is named."""

import errno
from pathlib import Path
from typing import Any

import pytest
from made_jobs import LORA, run_here, sft_job, weights_of

from jobs.memory import ran_out
from lineage.errors import TrainingError
from recipes.errors import DONE, REFUSED
from training.loop import memory


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_a_training_whose_longest_batch_was_tried_ends_bit_equal(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lora: dict[str, Any] | None
) -> None:
    untried = sft_job(tiny_base, tmp_path / "untried", lora=lora, max_steps=3)
    assert run_here(untried) == DONE
    tried: list[list[int]] = []
    compute_and_drop = memory.compute_and_drop

    def noted(trainer: Any, places: list[int]) -> None:
        tried.append(places)
        compute_and_drop(trainer, places)

    monkeypatch.setattr(memory, "compute_and_drop", noted)
    monkeypatch.setattr(memory, "_WORTH", 0)
    job = sft_job(tiny_base, tmp_path / "tried", lora=lora, max_steps=3)
    assert run_here(job) == DONE
    assert len(tried) == 1
    assert weights_of(job) == weights_of(untried)


@pytest.mark.parametrize(("worth", "said"), [(0, "in the trial of the longest batch"), (1000, "in step 2")])
def test_the_batch_that_is_too_large_is_named(
    tiny_base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    worth: int,
    said: str,
) -> None:
    from training.loop.batching import TrainerOfLikeLengths

    compute_loss = TrainerOfLikeLengths.compute_loss

    def small_machine(self: Any, model: Any, inputs: Any, *arguments: Any, **named: Any) -> Any:
        if self.state.global_step == 1 or worth == 0:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")
        return compute_loss(self, model, inputs, *arguments, **named)

    monkeypatch.setattr(memory, "_WORTH", worth)
    monkeypatch.setattr(TrainerOfLikeLengths, "compute_loss", small_machine)
    assert run_here(sft_job(tiny_base, tmp_path)) == REFUSED
    output = capsys.readouterr().out
    assert f"out of memory {said}" in output
    assert "rows of up to" in output
    assert "try execution.micro_batch 1, or execution.gradient_checkpointing: true, or lora" in output


def test_another_error_stays_what_it_is() -> None:
    with pytest.raises(RuntimeError, match="shapes"), memory.blamed({}, 1):
        raise RuntimeError("shapes differ")


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED"), False),
        (RuntimeError("NCCL error: unhandled cuda error. Last error: Cuda failure 2 'out of memory'"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
            True,
        ),
        (RuntimeError("shapes differ"), False),
        (MemoryError(), True),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (TrainingError("out of memory in step 6; try less"), False),
    ],
    ids=str,
)
def test_memory_that_ran_out_is_known_by_every_librarys_words(error: Exception, is_memory: bool) -> None:
    assert ran_out(error) is is_memory
