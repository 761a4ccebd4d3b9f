"""DPO's reference is the start checkpoint, computed once; a wrong one is noticed before the first step."""

import json
import math
import threading
from pathlib import Path
from typing import Any

import pytest
from made_jobs import LORA, dpo_job, run_here, weights_of

from jobs.job import Job, JobInput
from lineage.errors import TrainingError
from lineage.store import Store
from recipes.errors import DONE
from recipes.stages import Dpo
from tests import tiny
from training import rows
from training.losses import reference
from training.stages import dpo


def trainer(job: Job, work: Path, **changes: Any) -> Any:
    """The trainer of a DPO job before it knows the reference, as `with_reference` needs it."""
    from transformers import AutoTokenizer
    from trl import DPOConfig

    from training import weights
    from training.loop import loop
    from training.losses import head
    from training.losses.preference_trainers import PreferenceTrainer

    stage = Dpo.model_validate({**job.config, **changes})
    start = job.inputs["start"].path
    pairs = rows.read(job.inputs["preferences"].path / "pairs.parquet", ("prompt_ids", "chosen_ids", "rejected_ids"))
    plan = rows.plan([1] * len(pairs), stage)
    arguments = loop.arguments(stage, plan, work)
    made = PreferenceTrainer(
        micro_batches=rows.micro_batches(plan, stage.execution.micro_batch),
        model=weights.load_for_training(start, stage),
        args=DPOConfig(**arguments, beta=stage.beta, precompute_ref_log_probs=True),
        train_dataset=dpo._dataset(pairs, plan.order),
        processing_class=AutoTokenizer.from_pretrained(start),
        peft_config=weights.lora_config(stage.lora),
    )
    head.score_only_supervised(made)
    return made


def with_reference(made: Any, job: Job, **changes: Any) -> Any:
    """The same trainer with reference log-probabilities from the store of `job`."""
    from datasets import concatenate_datasets
    from datasets.arrow_dataset import Dataset

    stage = Dpo.model_validate({**job.config, **changes})
    batches = made.micro_batches
    known = reference.of_pairs(made, batches, len(made.train_dataset), job, stage, threading.Event())
    made.train_dataset = concatenate_datasets([made.train_dataset, Dataset(known)], axis=1)
    return made


def kept(job: Job) -> list[Path]:
    """Sealed reference log-probabilities in the job's store."""
    return sorted((job.home / "objects" / "tiny" / reference.NODE).glob("*/.record.json"))


@pytest.mark.invariants
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_the_loss_before_the_first_step_is_ln_2(
    tiny_base: Path, tmp_path: Path, lora: dict[str, Any] | None, precision: str
) -> None:
    from training.loop.loop import first_batch

    job = dpo_job(tiny_base, tmp_path)
    changes = {"lora": lora, "precision": precision}
    for kept_before in (0, 1):
        assert len(kept(job)) == kept_before
        made = with_reference(trainer(job, tmp_path, **changes), job, **changes)
        assert dpo.step0_check(made, first_batch(made), math.log(2))["value"] == pytest.approx(math.log(2), abs=1e-6)


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_a_cache_of_another_model_is_refused(tiny_base: Path, tmp_path: Path, lora: dict[str, Any] | None) -> None:
    from training.loop.loop import first_batch

    other = tiny.sealed(tmp_path, "other", lambda work: tiny.write_checkpoint(work, seed=1))
    job = dpo_job(tiny_base, tmp_path, lora=lora)
    of_other = job.model_copy(update={"inputs": {**job.inputs, "start": JobInput.of(other)}})
    with_reference(trainer(of_other, tmp_path), of_other)
    (record,) = kept(job)
    mine = Store(tmp_path).object_path(
        reference.request_for(made := trainer(job, tmp_path), made.micro_batches, job, Dpo.model_validate(job.config))
    )
    record.parent.rename(mine)
    made = with_reference(made, job)
    with pytest.raises(TrainingError, match="the reference model is not the start checkpoint"):
        dpo.step0_check(made, first_batch(made), math.log(2))


@pytest.mark.invariants
def test_reference_log_probabilities_are_those_of_trl(tiny_base: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM
    from trl import DPOTrainer
    from trl.trainer.utils import add_fused_lm_head

    job = dpo_job(tiny_base, tmp_path)
    made = with_reference(trainer(job, tmp_path), job)
    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    add_fused_lm_head(model)
    for place in (0, 5, 15):
        batch = made.data_collator([made.train_dataset[place]])
        chosen, rejected = DPOTrainer.compute_ref_log_probs(made, model, batch)
        assert (chosen.item(), rejected.item()) == pytest.approx(
            [made.train_dataset[place][name] for name in reference.COLUMNS], abs=1e-4
        )


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_another_beta_finds_the_reference_and_ends_in_the_bytes_of_a_fresh_run(
    tiny_base: Path, tmp_path: Path, lora: dict[str, Any] | None, capsys: pytest.CaptureFixture[str]
) -> None:
    first = dpo_job(tiny_base, tmp_path / "one", lora=lora)
    assert run_here(first) == DONE
    (record,) = kept(first)
    made_at = record.stat().st_mtime_ns
    assert "are there already" not in capsys.readouterr().out
    second = dpo_job(tiny_base, tmp_path / "one", lora=lora, beta=0.5, seed=8, epochs=2.0, learning_rate=0.02)
    assert run_here(second) == DONE
    assert "reference log-probabilities are there already" in capsys.readouterr().out
    assert [file.stat().st_mtime_ns for file in kept(second)] == [made_at]
    fresh = dpo_job(tiny_base, tmp_path / "two", lora=lora, beta=0.5, seed=8, epochs=2.0, learning_rate=0.02)
    assert run_here(fresh) == DONE
    assert weights_of(second) == weights_of(fresh) != weights_of(first)


def test_a_job_of_few_steps_computes_only_the_pairs_that_it_needs(tiny_base: Path, tmp_path: Path) -> None:
    job = dpo_job(tiny_base, tmp_path, max_steps=2)
    assert run_here(job) == DONE
    (record,) = kept(job)
    assert json.loads(record.read_text())["metrics"] == {"pairs": 8}


def test_how_pairs_are_divided_changes_no_step(tiny_base: Path, tmp_path: Path) -> None:
    entries = []
    for size in (1, 4):
        job = dpo_job(tiny_base, tmp_path / str(size), pairs=14, batch_rows=8, epochs=2.0)
        execution = {**job.config["execution"], "micro_batch": size}
        job = job.model_copy(update={"config": {**job.config, "execution": execution}, "execution": execution})
        assert run_here(job) == DONE
        found = job.store.find(job.request)
        assert found is not None
        history = json.loads((found.path / "history.json").read_text())
        names = ("loss", "grad_norm", "rewards/margins", "rewards/accuracies", "logps/chosen")
        entries.append([entry[name] for entry in history for name in names])
    assert len(entries[0]) == 4 * 5
    assert entries[0] == pytest.approx(entries[1], rel=1e-3, abs=1e-4)


def test_training_widens_the_margin_and_records_it(tiny_base: Path, tmp_path: Path) -> None:
    job = dpo_job(tiny_base, tmp_path, lora=LORA, epochs=4.0)
    assert run_here(job) == DONE
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
