"""KTO on unpaired answers and ORPO on pairs: what they count, what they lend each other, what they refuse."""

from pathlib import Path
from typing import Any

import pytest
from made_jobs import LORA, falls, kto_job, orpo_job, run_here

from jobs.job import Job
from lineage.errors import TrainingError
from lineage.store import Artifact
from recipes.errors import DONE, REFUSED
from recipes.stages import Orpo, StageBase
from training.stages import kto, orpo


def sealed(job: Job) -> Artifact:
    assert run_here(job) == DONE
    found = job.store.find(job.request)
    assert found is not None
    assert found.failed_checks == []
    return found


def test_kto_learns_from_single_answers(tiny_base: Path, tmp_path: Path) -> None:
    unpaired = {"loss": "apo_zero_unpaired", "desirable_weight": 0.5}
    found = sealed(kto_job(tiny_base, tmp_path, answers=9, epochs=4.0, lora=LORA, **unpaired))
    assert {"answers_untouched", "reference_is_start", "reload_equal"} <= set(found.metrics["checks"])
    assert falls(found)
    assert found.metrics["good_answers"] == 6


def test_rows_of_a_forward_pass_lend_each_other_their_answers() -> None:
    import pyarrow as pa

    answers = pa.table({"completion_ids": [[number] for number in range(7)]})
    lent = kto._with_kl_answers(answers, 3)["KL_completion_ids"].to_pylist()
    assert lent == [[2], [0], [1], [5], [3], [4], [5]]


@pytest.mark.invariants
def test_kto_with_another_reference_is_refused(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from training import weights

    models: list[Any] = []
    load = weights.load_for_training

    def differing(start: Path, stage: StageBase, loaded: weights.Loader) -> Any:
        models.append(load(start, stage, loaded))
        for weight in models[-1].parameters():
            weight.data *= len(models)
        return models[-1]

    monkeypatch.setattr(weights, "load_for_training", differing)
    assert run_here(kto_job(tiny_base, tmp_path)) == REFUSED
    assert "the reference model is not the start checkpoint" in capsys.readouterr().out


def test_kto_needs_good_and_bad_answers(tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here(kto_job(tiny_base, tmp_path, answers=1)) == REFUSED
    assert "0 of 1 answers are good; kto needs both kinds" in capsys.readouterr().out


def test_orpo_raises_the_odds(tiny_base: Path, tmp_path: Path) -> None:
    found = sealed(orpo_job(tiny_base, tmp_path, epochs=2.0, checkpoint_steps=50))
    assert {"pairs_untouched", "loss_is_the_papers", "reload_equal"} <= set(found.metrics["checks"])
    assert found.metrics["log_odds"]["last"] > found.metrics["log_odds"]["first"]
    assert falls(found)


@pytest.mark.invariants
def test_orpo_that_learns_prompts_is_refused(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """TRL's own forward pass counts them."""
    from trl.experimental.orpo import ORPOTrainer

    from training.losses.odds_ratio import OddsTrainer

    monkeypatch.setattr(OddsTrainer, "concatenated_forward", ORPOTrainer.concatenated_forward)
    assert run_here(orpo_job(tiny_base, tmp_path)) == REFUSED
    assert "the paper's formula gives" in capsys.readouterr().out


def test_the_odds_ratio_is_trls_own(tiny_base: Path, tmp_path: Path) -> None:
    """With a β of a thousand the loss is the odds ratio alone, and a wrong sign would show."""
    job = orpo_job(tiny_base, tmp_path, beta=1000, max_steps=1)
    found = sealed(job)
    assert found.metrics["checks"]["loss_is_the_papers"]["value"] > 100
    stage = Orpo.model_validate(job.config)
    assert stage.beta == 1000
    with pytest.raises(TrainingError, match="the paper's formula gives"):
        orpo.loss_check(*_trainer_and_batch(job), stage.model_copy(update={"beta": 1.0}))


def _trainer_and_batch(job: Job) -> tuple[Any, dict[str, Any]]:
    from transformers import AutoTokenizer
    from trl.experimental.orpo import ORPOConfig

    from training import rows, weights
    from training.loop import loop
    from training.losses import head, odds_ratio

    stage, start = Orpo.model_validate(job.config), job.inputs["start"].path
    pairs = rows.read(job.inputs["preferences"].path / "pairs.parquet", rows.PAIR)
    plan = rows.plan([1] * len(pairs), stage)
    config = ORPOConfig(**loop.arguments(stage, plan, job.home), beta=stage.beta, remove_unused_columns=False)
    trainer = odds_ratio.OddsTrainer(
        micro_batches=rows.micro_batches(plan, stage.execution.micro_batch),
        model=odds_ratio.with_head(weights.load_for_training(start, stage)),
        args=config,
        train_dataset=orpo._dataset(pairs),
        processing_class=AutoTokenizer.from_pretrained(start),
    )
    head.score_only_supervised(trainer)
    return trainer, loop.first_batch(trainer)
