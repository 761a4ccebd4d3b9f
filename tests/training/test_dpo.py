"""DPO's reference is the start checkpoint, and a wrong one is noticed before the first step."""

import math
from pathlib import Path
from typing import Any

import pytest
from made_jobs import LORA, dpo_job, run_here

from lineage.job import SEALED, Job
from recipes.stages import Dpo
from tests import tiny
from training import TrainingError, dpo, rows


def trainer(job: Job, work: Path, reference: Path | None, **changes: Any) -> Any:
    """The trainer of a DPO job with this reference model."""
    from transformers import AutoTokenizer
    from trl import DPOConfig

    from training import head, loop, weights
    from training.preferred import PreferenceTrainer

    stage = Dpo.model_validate({**job.config, **changes})
    start = job.inputs["start"].path
    pairs = rows.read(job.inputs["preferences"].path / "pairs.parquet", ("prompt_ids", "chosen_ids", "rejected_ids"))
    made = PreferenceTrainer(
        model=weights.load_for_training(start, stage),
        ref_model=reference and weights.load_for_training(reference, stage),
        args=DPOConfig(**loop.arguments(stage, rows.plan([1] * len(pairs), stage), work), beta=stage.beta),
        train_dataset=dpo._dataset(pairs),
        processing_class=AutoTokenizer.from_pretrained(start),
        peft_config=weights.lora_config(stage.lora),
    )
    head.score_only_supervised(made)
    return made


@pytest.mark.invariants
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_the_loss_before_the_first_step_is_ln_2(
    tiny_base: Path, tmp_path: Path, lora: dict[str, Any] | None, precision: str
) -> None:
    from training.loop import first_batch

    job = dpo_job(tiny_base, tmp_path)
    made = trainer(job, tmp_path, None if lora else tiny_base, lora=lora, precision=precision)
    assert dpo.step0_check(made, first_batch(made), math.log(2))["value"] == pytest.approx(math.log(2), abs=1e-6)


@pytest.mark.invariants
def test_another_reference_than_the_start_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    from training.loop import first_batch

    job = dpo_job(tiny_base, tmp_path)
    other = tmp_path / "other"
    tiny.write_checkpoint(other, seed=1)
    made = trainer(job, tmp_path, other)
    with pytest.raises(TrainingError, match="the reference model is not the start checkpoint"):
        dpo.step0_check(made, first_batch(made), math.log(2))


def test_training_widens_the_margin_and_records_it(tiny_base: Path, tmp_path: Path) -> None:
    job = dpo_job(tiny_base, tmp_path, lora=LORA, epochs=4.0)
    assert run_here(job) == SEALED
    found = job.store.find(job.request)
    assert found is not None
    assert found.metrics["margins"]["first"] == pytest.approx(0, abs=1e-6)
    assert found.metrics["margins"]["last"] > 0
    assert found.failed_checks == []
    assert set(found.metrics["checks"]) == {
        "pairs_untouched",
        "reference_is_start",
        *("frozen_unmoved", "adapter_whole", "merged_equals_adapter"),
        *("reload_equal", "served_as_trained"),
    }
