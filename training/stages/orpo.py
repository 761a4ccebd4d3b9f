"""Odds ratio preference optimisation (Hong et al. 2024): a checkpoint and preference pairs in, a checkpoint out.

Chosen answers are learned as in supervised fine-tuning while the odds of chosen over rejected ones are raised; there
is no reference model. Pairs come as token ids, the loss counts answers alone, and before the first step it is
compared with the paper's formula on the model's plain logits.
"""

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.job import Job
from jobs.run_log import RunLog
from lineage.checks import Check, check
from models import load
from recipes.stages import Orpo
from training import rows
from training.invariants import labels, required
from training.stages import frame

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = 3

_CLOSE = {"fp32": 1e-3, "bf16": 5e-2}
"""Relative: the formula's sums are taken in another order."""


def run(job: Job, work: Path, log: RunLog, stop: threading.Event) -> dict[str, Any]:
    """Train `job.inputs["start"]` on `job.inputs["preferences"]` into `work`; returns the record's metrics.

    Raises TrainingError, and Interrupted when `stop` was set.
    """
    from trl.experimental.orpo import ORPOConfig

    from training.losses import head, odds_ratio
    from training.weights import lora_config

    stage = Orpo.model_validate(job.config)
    pairs = rows.read(job.inputs["preferences"].path / "pairs.parquet", rows.PAIR)
    plan = rows.plan(rows.pair_lengths(pairs), stage)
    training = frame.Training(job, work, log, stop, stage, "preferences", plan)
    with training.begun():
        trainer = odds_ratio.OddsTrainer(
            micro_batches=training.micro_batches(),
            model=odds_ratio.with_head(training.model()),
            args=ORPOConfig(**training.arguments(), beta=stage.beta, remove_unused_columns=False),
            train_dataset=_dataset(pairs).select(plan.order),
            processing_class=load.tokenizer(training.start),
            peft_config=lora_config(stage.lora),
        )
        head.score_only_supervised(trainer)
        batch, taken = training.first_batch(trainer)
        checks = {
            "pairs_untouched": _ids_check(batch, taken, pairs),
            "loss_is_the_papers": loss_check(trainer, batch, stage),
        }
        trained = training.train(trainer, checks)
        first, last = trained.history[0], trained.history[-1]
        return training.save(
            trainer,
            trained,
            checks,
            pairs["prompt_ids"][plan.order[0]].as_py() + pairs["chosen_ids"][plan.order[0]].as_py(),
            log_odds={"first": first["log_odds_chosen"], "last": last["log_odds_chosen"]},
            reward_accuracy_last=last["rewards/accuracies"],
        )


def loss_check(trainer: Any, batch: dict[str, Any], stage: Orpo) -> Check:
    """Compare the trainer's loss on a batch with eq. 6 and 7 of the paper, from the model's own logits, row by row.

    With P the geometric mean of an answer's probabilities: −log P(chosen), and −β log σ of the logarithm of
    odds(chosen) / odds(rejected), odds being P / (1 − P). Raises TrainingError if they differ.
    """
    import torch

    inputs = trainer._prepare_inputs(batch)
    with torch.no_grad(), trainer.accelerator.autocast():
        loss = float(trainer.compute_loss(trainer.model, inputs))
        chosen, rejected = (_log_probs(trainer.model, inputs, side) for side in ("chosen", "rejected"))
    trainer._stored_metrics["train"].clear()
    mean = [torch.stack([row.double().mean() for row in side]) for side in (chosen, rejected)]
    log_odds = [p - torch.log1p(-p.exp()) for p in mean]
    ratio = torch.nn.functional.logsigmoid(log_odds[0] - log_odds[1]).mean()
    expected = float(-mean[0].mean() - stage.beta * ratio)
    found = check(
        abs(loss - expected) <= _CLOSE[stage.precision] * expected,
        loss,
        "the loss before the first step is the paper's formula on the logits of the answers' tokens",
    )
    return required(found, f"ORPO's loss before the first step is {loss:.6f}, the paper's formula gives {expected:.6f}")


def _log_probs(model: Any, inputs: dict[str, Any], side: str) -> list[Any]:
    """Log-probabilities of the answers' tokens, a tensor for each row, one forward pass each without padding."""
    found = []
    for ids, mask, counts in zip(*(inputs[f"{side}_{name}"] for name in _OF_SIDE), strict=True):
        used = mask.bool()
        row = ids[used][None]
        scores = model(input_ids=row, use_cache=False).logits[0, :-1].float().log_softmax(-1)
        counted = counts[used][1:] != rows.NOT_SUPERVISED
        found.append(scores.gather(-1, row[0, 1:, None])[:, 0][counted])
    return found


_OF_SIDE = ("input_ids", "attention_mask", "labels")


def _dataset(pairs: "pa.Table") -> Any:
    """The columns that TRL's collator pads: ids, masks and labels of both conversations."""
    from datasets import Dataset

    table = []
    for prompt, *answers in zip(*(pairs[name].to_pylist() for name in rows.PAIR), strict=True):
        row = {}
        for side, answer in zip(("chosen", "rejected"), answers, strict=True):
            row[f"{side}_input_ids"] = prompt + answer
            row[f"{side}_attention_mask"] = [1] * len(prompt + answer)
            row[f"{side}_labels"] = [rows.NOT_SUPERVISED] * len(prompt) + answer
        table.append(row)
    return Dataset.from_list(table)


def _ids_check(batch: dict[str, Any], taken: list[int], pairs: "pa.Table") -> Check:
    """Compare the first batch, as the loss will see it, with the pairs' own ids, token by token."""
    wrong = 0
    count = len(batch["chosen_input_ids"])
    for place in range(count):
        prompt, *answers = (pairs[name][taken[place]].as_py() for name in rows.PAIR)
        for side, answer in zip(("chosen", "rejected"), answers, strict=True):
            counted = batch[f"{side}_labels"][place].tolist()
            pad = [rows.NOT_SUPERVISED] * (len(counted) - len(prompt + answer))
            wrong += labels.ids_differ(batch, place, prompt + answer, f"{side}_")
            wrong += counted != [rows.NOT_SUPERVISED] * len(prompt) + answer + pad
    return labels.untouched(
        wrong, count, "ids, masks and labels of the first batch (its pairs counted here) are those of the pairs"
    )
