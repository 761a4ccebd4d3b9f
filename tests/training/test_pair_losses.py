"""DPO's losses have TRL's names, and at the start each is the number that its formula gives."""

import dataclasses
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from made_jobs import LORA, dpo_job, run_here

from recipes.errors import DONE
from recipes.stages import NEEDS_SMOOTHING, SMOOTHED, Dpo, DpoLoss, KtoLoss
from training import rows
from training.stages import dpo

LOSSES = get_args(DpoLoss)


def own_fields(loss: str) -> dict[str, Any]:
    return {"loss": loss, **({"label_smoothing": 0.1} if loss in SMOOTHED else {})}


def test_the_names_are_trls_own() -> None:
    from trl import DPOConfig, KTOConfig

    fields = {f.name: f.metadata for f in dataclasses.fields(DPOConfig)}
    named = re.findall(r"`'(\w+)'`", fields["loss_type"]["help"])
    assert sorted(LOSSES) == sorted(named)
    kto = next(f.metadata["choices"] for f in dataclasses.fields(KTOConfig) if f.name == "loss_type")
    assert sorted(get_args(KtoLoss)) == sorted(kto)
    assert set(NEEDS_SMOOTHING) <= set(SMOOTHED) <= set(LOSSES)


@pytest.fixture(scope="module")
def checked(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict[str, Any]]:
    """A DPO trainer before its first step, and its first batch."""
    from transformers import AutoTokenizer
    from trl import DPOConfig

    from training import weights
    from training.loop import loop
    from training.losses import head
    from training.losses.preference_trainers import PreferenceTrainer

    work = tmp_path_factory.mktemp("losses")
    job = dpo_job(tiny_base, work, pairs=4)
    stage = Dpo.model_validate(job.config)
    pairs = rows.read(job.inputs["preferences"].path / "pairs.parquet", rows.PAIR)
    trainer = PreferenceTrainer(
        micro_batches=[[0, 1], [2, 3]],
        model=weights.load_for_training(tiny_base, stage),
        ref_model=weights.load_for_training(tiny_base, stage),
        args=DPOConfig(**loop.arguments(stage, rows.plan([1] * 4, stage), work)),
        train_dataset=dpo._dataset(pairs, list(range(4))),
        processing_class=AutoTokenizer.from_pretrained(tiny_base),
    )
    head.score_only_supervised(trainer)
    return trainer, loop.first_batch(trainer)


@pytest.mark.invariants
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_begins_where_its_formula_says(loss: str, checked: tuple[Any, dict[str, Any]]) -> None:
    trainer, batch = checked
    fields = {"kind": "dpo", "preferences": "p", "start": "base", "learning_rate": 0.1, "batch_rows": 1, "seed": 0}
    stage = Dpo.model_validate({**fields, "beta": 0.3, **own_fields(loss)})
    trainer.beta, trainer.loss_types = stage.beta, [stage.loss]
    trainer.label_smoothing = stage.label_smoothing or 0.0
    expected = dpo.at_start(stage)
    assert dpo.step0_check(trainer, batch, expected)["passed"]
    assert (expected is None) == (loss == "sft")


def test_a_loss_of_another_name_trains(tiny_base: Path, tmp_path: Path) -> None:
    job = dpo_job(tiny_base, tmp_path, lora=LORA, loss="robust", label_smoothing=0.1, max_steps=2)
    assert run_here(job) == DONE
    found = job.store.find(job.request)
    assert found is not None
    assert found.failed_checks == []
