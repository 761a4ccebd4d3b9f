"""GRPO learns from what it is rewarded for, against the start checkpoint, and notices when its groups are mixed up."""

from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from made_jobs import LORA, grpo_job, run_here

from jobs.job import Job
from lineage.errors import TrainingError
from recipes.errors import DONE, REFUSED
from recipes.stages import Grpo
from tests import tiny


def trainer(job: Job, work: Path, **changes: Any) -> Any:
    """The trainer of a GRPO job, as the stage makes it."""
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import GRPOConfig

    from training import rewards, rollouts, rows, weights
    from training.loop import loop
    from training.losses import head
    from training.stages import grpo

    stage = Grpo.model_validate({**job.config, **changes})
    start, given = job.inputs["start"].path, job.inputs["prompts"].path
    prompts = rows.read(given / "prompts.parquet", ("prompt_ids", "verifier"))
    ids = prompts["prompt_ids"].to_pylist()
    plan = rollouts.plan([len(row) for row in ids], stage)
    model = weights.load_for_training(start, stage)
    model.config._name_or_path = str(start)
    made = rollouts.RolloutTrainer(
        plan=plan,
        precision=stage.precision,
        model=model,
        reward_funcs=rewards.functions(stage, prompts["verifier"].to_pylist(), given, start, None, "cpu"),
        args=GRPOConfig(**grpo.arguments(stage, loop.arguments(stage, plan, work))),
        train_dataset=Dataset.from_dict({"prompt": ids, "row": list(range(len(ids)))}),
        processing_class=AutoTokenizer.from_pretrained(start),
        peft_config=weights.lora_config(stage.lora),
    )
    head.score_only_supervised(made)
    made.current_gradient_accumulation_steps = made.args.gradient_accumulation_steps  # `train` would set it
    return made


def answered(made: Any) -> Any:
    """The first micro-batch, answered and scored."""
    made.model.train()
    return made._prepare_inputs(next(iter(made.get_train_dataloader())))


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_what_is_rewarded_becomes_likelier(tiny_base: Path, tmp_path: Path, lora: dict[str, Any] | None) -> None:
    """Few tokens are drawn from, so that chance says one of those with a z again and again."""
    job = grpo_job(tiny_base, tmp_path, lora=lora, epochs=6.0, beta=0.01, top_p=0.0005)
    assert run_here(job) == DONE
    found = job.store.find(job.request)
    assert found is not None
    assert found.failed_checks == []
    assert {"prompts_untouched", "advantages_sum_to_zero", "kl_step0_zero"} <= set(found.metrics["checks"])
    assert found.metrics["checks"]["kl_step0_zero"]["value"] == pytest.approx(0, abs=1e-6)
    assert found.metrics["rows"] == 36 * 8
    assert found.metrics["answers_cut"] == 36 * 8
    assert found.metrics["answer_tokens"] == 36 * 8 * 8
    assert found.metrics["tokens_per_s"] > 0
    import json

    history = json.loads((found.path / "history.json").read_text(encoding="utf-8"))
    rewards = [entry["reward"] for entry in history]
    assert fmean(rewards[-12:]) > fmean(rewards[:3]) + 0.3


def test_another_reference_than_the_start_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    from training.weights import load

    made = trainer(grpo_job(tiny_base, tmp_path), tmp_path)
    other = tmp_path / "other"
    tiny.write_checkpoint(other, seed=1)
    made.compute_loss(made.model, answered(made))
    made.ref_model.load_state_dict(load(other, made.model.dtype).state_dict())
    made._buffered_inputs = None
    with pytest.raises(TrainingError, match="the reference model is not the start checkpoint"):
        made.compute_loss(made.model, answered(made))


@pytest.mark.invariants
def test_answers_drawn_at_another_temperature_are_refused(tiny_base: Path, tmp_path: Path) -> None:
    from training.rollouts import must_be_own

    made = trainer(grpo_job(tiny_base, tmp_path), tmp_path, temperature=0.5)
    made.model.train()
    answers = made._generate_and_score_completions(next(iter(made.get_train_dataloader())))
    assert 0 <= must_be_own(made, answers, 1e-4) < 1e-5
    made.temperature = 1.0
    with pytest.raises(TrainingError, match="from other answers than were drawn"):
        must_be_own(made, answers, 1e-4)


@pytest.mark.invariants
def test_advantages_of_mixed_groups_are_refused(tiny_base: Path, tmp_path: Path) -> None:
    import torch

    from training.rollouts import group_sum

    assert group_sum(torch.tensor([1.0, -1.0, 0.5, -0.5]), 2) == 0
    made = trainer(grpo_job(tiny_base, tmp_path), tmp_path)
    made.reward_funcs = [lambda completion_ids, **_: range(len(completion_ids))]
    assert answered(made)["advantages"].abs().max() > 0
    made._buffered_inputs = None
    made.num_generations = 8  # the baseline is then the mean over two prompts
    with pytest.raises(TrainingError, match="not of one group"):
        answered(made)


@pytest.mark.invariants
def test_prompts_reach_the_model_as_they_are(tiny_base: Path, tmp_path: Path) -> None:
    from training.rollouts import must_be_untouched

    made = trainer(grpo_job(tiny_base, tmp_path), tmp_path)
    batch = next(iter(made.get_train_dataloader()))
    made.model.train()
    out = made._generate_and_score_completions(batch)
    must_be_untouched(out, [row["prompt"] for row in batch])
    changed = [row["prompt"][:-1] for row in batch]
    with pytest.raises(TrainingError, match="not those given"):
        must_be_untouched(out, changed)


def test_the_head_scores_at_the_temperature_of_the_answers(tiny_base: Path, tmp_path: Path) -> None:
    import torch

    made = trainer(grpo_job(tiny_base, tmp_path), tmp_path, temperature=0.5)
    batch = answered(made)
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    kept = batch["completion_ids"].shape[1]
    with torch.no_grad():
        ours, entropy, _ = made._get_per_token_logps_and_entropies(made.model, ids, mask, kept, compute_entropy=True)
        logits = made.model(input_ids=ids, attention_mask=mask).logits[:, -kept - 1 : -1] / 0.5
    log_probs = logits.log_softmax(-1)
    torch.testing.assert_close(ours, log_probs.gather(-1, batch["completion_ids"][..., None])[..., 0])
    torch.testing.assert_close(entropy, -(log_probs.exp() * log_probs).sum(-1))


def test_another_micro_batch_gives_the_same_answers(tiny_base: Path, tmp_path: Path) -> None:
    made = [trainer(grpo_job(tiny_base, tmp_path), tmp_path, execution={"micro_batch": n}) for n in (2, 8)]
    import torch

    in_twos = answered(made[0])
    torch.manual_seed(3)
    in_eights = answered(made[1])
    assert torch.equal(in_twos["completion_ids"], in_eights["completion_ids"][:2])
    assert torch.equal(in_twos["advantages"], in_eights["advantages"][:2])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_rows": 64}, "there are 12 prompts, a step of batch_rows 64 with 4 generations needs 16"),
        ({"max_new_tokens": 2040}, "exceed the model's 2048 positions"),
        ({"rewards": [{"kind": "instructions"}]}, "instructions applies to none of the prompts"),
    ],
)
def test_what_cannot_be_trained_is_said(
    tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], message: str
) -> None:
    assert run_here(grpo_job(tiny_base, tmp_path, **changes)) == REFUSED
    assert message in capsys.readouterr().out
