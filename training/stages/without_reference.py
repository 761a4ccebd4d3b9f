"""Stages that learn from pairs with no reference model, on TRL's experimental trainers: ORPO's, and what is like it.

TRL 1.16's own tokenise every pair themselves, and ORPO's learns the prompts of chosen answers together with them. Here
pairs come as token ids, their preparation hands rows on as they are, and the forward pass scores the answers' tokens:
what is done with their log-probabilities is TRL's, and is held to the paper's formula before the first step.
"""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch  # noqa: TID253 - only job processes import this module
from trl.trainer.utils import add_fused_lm_head  # noqa: TID253

from jobs.job import Job
from jobs.run_log import RunLog
from lineage.checks import Check, check
from models import load
from recipes.stages import OnPreferences
from training import rows
from training.invariants import labels, required
from training.loop.batching import LikeLengths, MeanOverRows
from training.losses import head
from training.stages import frame
from training.weights import lora_config

if TYPE_CHECKING:
    import pyarrow as pa

Formula = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""A paper's loss of pairs: mean log-probabilities of the tokens of chosen and of rejected answers, each (pairs,)."""

_OF_SIDE = ("input_ids", "attention_mask", "labels")
_CLOSE = {"fp32": 1e-3, "bf16": 5e-2}
"""Relative: the formula's sums are taken in another order."""


class WithoutReference(LikeLengths, MeanOverRows):
    """For a TRL trainer: on rows of ids, masks and labels of both conversations; its model has `add_fused_lm_head`."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(rows_of=lambda batch: len(batch["chosen_labels"]), **arguments)
        # by the names of TRL's other trainers
        self._metrics, self._total_train_tokens = self._stored_metrics, 0  # type: ignore[attr-defined]

    def tokenize_row(self, feature: dict[str, Any], *_: Any, **__: Any) -> dict[str, Any]:
        return feature

    def concatenated_forward(self: Any, model: Any, batch: dict[str, Any]) -> tuple[torch.Tensor, ...]:
        """Mean log-probability of each chosen and each rejected answer, logits for the log, loss of chosen answers.

        That loss is the paper's, a mean over each answer's tokens, then over answers: TRL's, over all tokens of a
        micro-batch, would depend on which rows share one.
        """
        both = self.concatenated_inputs(
            batch, padding_value=self.processing_class.pad_token_id, device=self.accelerator.device
        )
        labels = both["concatenated_labels"]
        scored = model(
            input_ids=both["concatenated_input_ids"],
            attention_mask=both["concatenated_attention_mask"],
            labels=labels,
            fused_lm_head=True,
        )
        counted = labels[:, 1:] != rows.NOT_SUPERVISED
        of_tokens = scored.log_probs[:, -counted.size(1) :]
        pairs = len(batch["chosen_labels"])
        means = of_tokens.sum(-1) / counted.sum(-1)
        logits = scored.mean_logits[:, -counted.size(1) :]
        return (
            means[:pairs],
            means[pairs:],
            logits[:pairs][counted[:pairs]],
            logits[pairs:][counted[pairs:]],
            -means[:pairs].mean(),
        )


def run(
    job: Job,
    work: Path,
    log: RunLog,
    stop: threading.Event,
    stage: OnPreferences,
    trainer_class: type[Any],
    config: Callable[..., Any],
    formula: Formula,
    told: Callable[[list[dict[str, float]]], dict[str, Any]],
) -> dict[str, Any]:
    """Train `job.inputs["start"]` on `job.inputs["preferences"]` into `work`; returns the record's metrics.

    trainer_class: of TRL, below `WithoutReference`. config: its configuration, of the arguments that every stage has.
    told: the stage's own metrics, from what each step logged. Raises TrainingError, and Interrupted on `stop`.
    """
    pairs = rows.read(job.inputs["preferences"].path / "pairs.parquet", rows.PAIR)
    plan = rows.plan(rows.pair_lengths(pairs), stage)
    training = frame.Training(job, work, log, stop, stage, "preferences", plan)
    with training.begun():
        trainer = trainer_class(
            micro_batches=training.micro_batches(),
            model=_with_head(training.model()),
            args=config(**training.arguments(), remove_unused_columns=False),
            train_dataset=_dataset(pairs).select(plan.order),
            processing_class=load.tokenizer(training.start),
            peft_config=lora_config(stage.lora),
        )
        head.score_only_supervised(trainer)
        batch, taken = training.first_batch(trainer)
        checks = {
            "pairs_untouched": _ids_check(batch, taken, pairs),
            "loss_is_the_papers": loss_check(trainer, batch, stage, formula),
        }
        trained = training.train(trainer, checks)
        probe = pairs["prompt_ids"][plan.order[0]].as_py() + pairs["chosen_ids"][plan.order[0]].as_py()
        return training.save(trainer, trained, checks, probe, **told(trained.history))


def _with_head(model: Any) -> Any:
    """The model with TRL's head that gives log-probabilities in the place of logits; before PEFT wraps it."""
    add_fused_lm_head(model, outputs=("log_probs", "mean_logits"))
    return model


def loss_check(trainer: Any, batch: dict[str, Any], stage: OnPreferences, formula: Formula) -> Check:
    """Compare the trainer's loss on a batch with the paper's formula on the model's own logits, row by row.

    Raises TrainingError if they differ.
    """
    inputs = trainer._prepare_inputs(batch)
    with torch.no_grad(), trainer.accelerator.autocast():
        loss = float(trainer.compute_loss(trainer.model, inputs))
        chosen, rejected = (_log_probs(trainer.model, inputs, side) for side in ("chosen", "rejected"))
    trainer._stored_metrics["train"].clear()
    means = (torch.stack([row.double().mean() for row in side]) for side in (chosen, rejected))
    expected = float(formula(*means))
    found = check(
        abs(loss - expected) <= _CLOSE[stage.precision] * expected,
        loss,
        "the loss before the first step is the paper's formula on the logits of the answers' tokens",
    )
    return required(found, f"the loss before the first step is {loss:.6f}, the paper's formula gives {expected:.6f}")


def _log_probs(model: Any, inputs: dict[str, Any], side: str) -> list[torch.Tensor]:
    """Log-probabilities of the answers' tokens, a tensor for each row, one forward pass each without padding."""
    found = []
    for ids, mask, counts in zip(*(inputs[f"{side}_{name}"] for name in _OF_SIDE), strict=True):
        used = mask.bool()
        row = ids[used][None]
        scores = model(input_ids=row, use_cache=False).logits[0, :-1].float().log_softmax(-1)
        counted = counts[used][1:] != rows.NOT_SUPERVISED
        found.append(scores.gather(-1, row[0, 1:, None])[:, 0][counted])
    return found


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
