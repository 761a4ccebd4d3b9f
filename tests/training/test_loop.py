"""What happens around the steps: running out of memory, and dying between the last step and the seal."""

from pathlib import Path

import pytest
from made_jobs import run_here, sft_job, weights_of

from lineage.job import INTERRUPTED, SEALED
from recipes.stages import Kto, Sft
from training import Interrupted, TrainingError, rows


def test_running_out_of_memory_says_what_to_change() -> None:
    from training.loop import memory_explained

    fields = {"kind": "sft", "mixture": "m", "start": "base", "learning_rate": 0.1, "batch_rows": 8, "seed": 0}
    stage = Sft.model_validate({**fields, "execution": {"micro_batch": 4}})
    with (
        pytest.raises(TrainingError, match=r"micro-batches of 4 rows of up to 9 tokens; try execution\.micro_batch 2"),
        memory_explained(stage, rows.plan([3, 9], stage)),
    ):
        raise MemoryError


def test_kto_that_runs_out_of_memory_is_told_its_own_field() -> None:
    from training.loop import memory_explained

    fields = {"kind": "kto", "preferences": "p", "start": "base", "learning_rate": 0.1, "batch_rows": 8, "seed": 0}
    stage = Kto.model_validate({**fields, "beta": 0.1, "kl_rows": 8})
    with (
        pytest.raises(TrainingError, match=r"try kl_rows 4, or .*, or lora"),
        memory_explained(stage, rows.plan([3, 9], stage)),
    ):
        raise MemoryError


def test_a_training_that_had_finished_is_sealed_without_another_step(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training import weights

    whole = sft_job(tiny_base, tmp_path / "whole", max_steps=3)
    assert run_here(whole) == SEALED
    job = sft_job(tiny_base, tmp_path / "cut", max_steps=3)

    def cut(*_: object) -> None:
        raise Interrupted("cut off before the weights were written")

    with monkeypatch.context() as patch:
        patch.setattr(weights, "save", cut)
        assert run_here(job) == INTERRUPTED
    assert run_here(job) == SEALED
    found = job.store.find(job.request)
    assert found is not None
    assert found.metrics["resumed_from_step"] == found.metrics["steps"] == 3
    assert weights_of(job) == weights_of(whole)
