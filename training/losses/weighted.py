"""A loss in which rows say of their answers that these count more, or less, than others.

Each supervised token's loss is multiplied by its weight; the sum is divided by the number of supervised tokens, as
without weights, so that half a weight is half a gradient (ms-swift's `loss_scale`). The trainer itself takes the
weights from the batch (`training.loop.batching`); here they are put there, and it is proved that they arrive.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch  # noqa: TID253 - only job processes import this module

from lineage.checks import Check, check
from lineage.errors import TrainingError
from training.invariants import required
from training.loop.batching import WEIGHTS

_CLOSE = {"fp32": 1e-3, "bf16": 5e-2}
"""Of the weighed loss: how far the trainer's may be from that of each row alone."""

_NOT_WITH = {"loss_type": "dft", "label_smoothing_factor": None}
"""Settings of the trainer whose losses are no sum over tokens that a weight could be put to; None: any."""


@dataclass(frozen=True)
class Collator:
    """What `collate` makes of rows, with their weights in the places of their labels."""

    collate: Any

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch: dict[str, torch.Tensor] = self.collate(rows)
        if wrong := sum(len(row[WEIGHTS]) != len(row["input_ids"]) for row in rows):
            raise TrainingError(f"{wrong} rows of a batch have weights for another number of tokens than they hold")
        weights = [torch.tensor(row[WEIGHTS], dtype=torch.float32) for row in rows]
        if len(batch["labels"]) == len(weights):
            width = batch["labels"].shape[1]
            weights = [torch.nn.functional.pad(row, (0, width - len(row))) for row in weights]
            batch[WEIGHTS] = torch.stack(weights)
        else:  # packed: all rows end to end
            batch[WEIGHTS] = torch.cat(weights)[None]
        return batch


def refuse_other_losses(args: Mapping[str, Any]) -> None:
    """Raises TrainingError for a stage's `args` with which rows cannot have weights."""
    for name, value in _NOT_WITH.items():
        if args.get(name) and value in (None, args[name]):
            raise TrainingError(
                f"args.{name}: rows of the mixture have weights of the loss, which {args[name]} does not take; leave "
                "it out, or the weights"
            )


def weighed_as_rows_say(trainer: Any, rows: Sequence[tuple[list[int], list[float]]], places: list[int]) -> Check:
    """What weights change in the trainer's loss on a micro-batch is what they change in that of its rows, each alone.

    rows: token ids and weights, in the order of `places`. Raises TrainingError if it is not.
    """
    batch = trainer.data_collator([trainer.train_dataset[place] for place in places])
    plain = {**batch, WEIGHTS: (batch[WEIGHTS] > 0).float()}
    model, was_training = trainer.model, trainer.model.training
    model.eval()
    with torch.no_grad(), trainer.accelerator.autocast():
        weighed, equal = (float(trainer.compute_loss(model, trainer._prepare_inputs(one))) for one in (batch, plain))
        sums = [_losses(model, ids, weights) for ids, weights in rows]
    model.train(was_training)
    trainer._metrics["eval"].clear()
    tokens = sum(count for _, _, count in sums)
    expected = sum(own - same for own, same, _ in sums) / tokens
    precision = "bf16" if trainer.args.bf16 else "fp32"
    found = check(
        abs(weighed - equal - expected) <= _CLOSE[precision] * max(weighed, equal),
        weighed - equal,
        "by how much the rows' weights change the loss before the first step is what they change row by row",
    )
    return required(
        found, f"weights change the loss by {weighed - equal:.6f}, and by {expected:.6f} row by row: they are not heard"
    )


def _losses(model: Any, ids: list[int], weights: list[float]) -> tuple[float, float, int]:
    """The loss of a row, weighed and not, summed over its supervised tokens, and the number of these."""
    tokens = torch.tensor([ids], device=model.device)
    scores = model(input_ids=tokens, use_cache=False).logits[0, :-1].float().log_softmax(-1)
    losses = -scores.gather(-1, tokens[0, 1:, None])[:, 0].double()
    weight = torch.tensor(weights[1:], device=model.device, dtype=torch.float64)
    counted = weight > 0
    return float((losses * weight).sum()), float(losses[counted].sum()), int(counted.sum())
