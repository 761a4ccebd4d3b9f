"""What a step would change: the same gradient however rows are laid out in memory.

A loss hides these bugs: packed samples that see each other change it by a factor of 1.0001 while the gradient is off
by more than its own size. So gradients are compared, of all trainable weights or, where those are many, of the
one-dimensional ones, through which every error passes too.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch  # noqa: TID253 - only job processes import this module

from lineage.checks import Check, check
from training.rows import NOT_SUPERVISED

TOLERANCE = 1e-4
"""Of the difference's norm against the gradient's, in fp32: rounding gave 5e-7, a missing isolation more than 1."""

_FEW = 50_000_000


def packed_equals_unpadded(
    model: Any, packed: Mapping[str, Any], rows: Sequence[tuple[list[int], list[int]]], tolerance: float = TOLERANCE
) -> Check:
    """The gradient of packed rows is that of the same rows one by one.

    packed: what the model is given, with `labels`; rows: ids and labels of each. tolerance: for kernels in bfloat16
    another than that of fp32; without isolation the difference is above 1. Catches samples in one sequence that
    attend to each other, positions that run on, a first token predicted from the row before (trl#1230, #805;
    axolotl PR#3796; transformers#46634, where a mask of ones switches the isolation off).
    """
    one_by_one = (
        {
            "input_ids": torch.tensor([ids]),
            "labels": torch.tensor([labels]),
            "position_ids": torch.arange(len(ids))[None],
        }
        for ids, labels in rows
    )
    apart = difference(gradient(model, [packed]), gradient(model, one_by_one))
    return check(
        apart <= tolerance, apart, f"packed and unpadded gradients differ by {tolerance:g} of their norm at most"
    )


def accumulation_equals_whole(accumulated: torch.Tensor, whole: torch.Tensor) -> Check:
    """The gradient of a step in eight passes of one row is that of one pass of eight (`step_gradient`).

    Catches means over micro-batches where the mean over the step's tokens is meant, which makes short rows count more
    (torchtune PR#1875; trl#5619, #6478; unsloth-zoo#1023).
    """
    apart = difference(accumulated, whole)
    return check(apart <= TOLERANCE, apart, f"1 x 8 and 8 x 1 gradients differ by {TOLERANCE:g} of their norm at most")


def gradient(model: Any, batches: Iterable[Mapping[str, Any]]) -> torch.Tensor:
    """Gradient of the mean loss over all labels of the batches, flat and in float32; the model keeps no trace of it."""
    weights = _weights(model)
    total = torch.zeros(sum(weight.numel() for weight in weights))
    labelled = 0
    was_training = model.training
    model.eval()
    for batch in batches:
        given = {name: value.to(model.device) for name, value in batch.items()}
        labels = given.pop("labels")[:, 1:]
        logits = model(**given, use_cache=False).logits[:, :-1].float()
        loss = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), labels.flatten().long(), ignore_index=NOT_SUPERVISED, reduction="sum"
        )
        found = torch.autograd.grad(loss, weights, allow_unused=True)
        total += _flat(weights, found)
        labelled += int((labels != NOT_SUPERVISED).sum())
    model.train(was_training)
    return total / labelled


def step_gradient(trainer: Any) -> torch.Tensor:
    """Gradient of the trainer's first step, by its own loader, loss and accumulation; no step is taken."""
    batches, in_step = trainer.get_batch_samples(
        iter(trainer.get_train_dataloader()), trainer.args.gradient_accumulation_steps, trainer.args.device
    )
    trainer.current_gradient_accumulation_steps = len(batches)
    trainer.model.zero_grad()
    for batch in batches:
        trainer.training_step(trainer.model, batch, in_step)
    weights = _weights(trainer.model)
    found = _flat(weights, [weight.grad for weight in weights])
    trainer.model.zero_grad()
    return found


def difference(first: torch.Tensor, second: torch.Tensor) -> float:
    """Norm of the difference against the norm of the second."""
    return float((first - second).norm() / second.norm())


def _weights(model: Any) -> list[torch.nn.Parameter]:
    trainable = [weight for weight in model.parameters() if weight.requires_grad]
    if sum(weight.numel() for weight in trainable) <= _FEW:
        return trainable
    return [weight for weight in trainable if weight.ndim == 1]


def _flat(weights: Sequence[torch.Tensor], found: Sequence[torch.Tensor | None]) -> torch.Tensor:
    pieces = [torch.zeros_like(w) if g is None else g for w, g in zip(weights, found, strict=True)]
    return torch.cat([piece.detach().float().cpu().flatten() for piece in pieces])
