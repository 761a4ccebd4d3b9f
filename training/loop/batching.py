"""TRL's trainers on micro-batches of rows of like lengths, the same ones however many processes share them.

Which rows share a micro-batch is decided in `rows`, and their number in a step stays that of the settings, so the
trainer's own accumulation and its resuming are as they were. Each process takes its share of every step's
micro-batches. A loss per token does not depend on how a step's rows are divided; a mean over rows, as DPO's, would,
so there each micro-batch weighs what it has of the step's rows.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, ClassVar

import torch  # noqa: TID253 - only job processes import this module
from torch.utils.data import DataLoader  # noqa: TID253
from trl import SFTTrainer  # noqa: TID253

WEIGHTS = "loss_weights"
"""In rows and batches of supervised fine-tuning: what the loss of each token is multiplied by."""


class LikeLengths:
    """For a trainer. `micro_batches`: places in the training set, in the order of training; every epoch the same."""

    def __init__(self, *, micro_batches: list[list[int]], **arguments: Any) -> None:
        super().__init__(**arguments)
        self.micro_batches = micro_batches

    def get_train_dataloader(self: Any) -> Any:
        return DataLoader(
            self._remove_unused_columns(self.train_dataset, description="Training"),
            batch_sampler=self.micro_batches[self.args.process_index :: self.args.world_size],
            collate_fn=self.data_collator,
            pin_memory=self.args.dataloader_pin_memory,
        )


class TrainerOfLikeLengths(LikeLengths, SFTTrainer):  # type: ignore[misc]
    """SFT, whose loss is a sum over the supervised tokens of a step, divided by their number; where a batch has
    `WEIGHTS` (of the shape of its labels), each token's loss is first multiplied by its own."""

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        weights = inputs.pop(WEIGHTS, None)
        scored = model if weights is None else partial(_weighed, model, weights)
        return super().compute_loss(scored, inputs, *args, **kwargs)

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        self._signature_columns: list[str] = list(dict.fromkeys([*self._signature_columns, WEIGHTS]))


def _weighed(model: Any, weights: torch.Tensor, **inputs: Any) -> Any:
    """What a model says of a batch, its log-probabilities multiplied by the weights of their labels."""
    scored = model(**inputs)
    scored.log_probs = scored.log_probs * weights[:, 1:]
    return scored


class MeanOverRows:
    """For a trainer whose loss is the mean over the rows of a micro-batch: makes a step's the mean over its rows.

    rows_of: how many rows a batch holds. `per_row`: how metrics begin that TRL takes the mean of over rows, then over
    micro-batches; those over tokens it counts itself.
    """

    per_row: ClassVar[tuple[str, ...]] = ("rewards/", "logps/")

    def __init__(self, *, rows_of: Callable[[dict[str, Any]], int], **arguments: Any) -> None:
        super().__init__(**arguments)
        self._rows_of, self._rows_in_step = rows_of, 0
        if self.args.world_size > 1:  # type: ignore[attr-defined]
            _gather_any_number(self.accelerator)  # type: ignore[attr-defined]

    def get_batch_samples(self: Any, iterator: Iterator[Any], count: int, device: Any) -> Any:
        samples, items = super().get_batch_samples(iterator, count, device)  # type: ignore[misc]
        rows = torch.tensor(sum(map(self._rows_of, samples)), device=device)
        self._rows_in_step = int(self.accelerator.reduce(rows))
        return samples, items

    def compute_loss(self: Any, model: Any, inputs: dict[str, Any], *arguments: Any, **named: Any) -> Any:
        loss = super().compute_loss(model, inputs, *arguments, **named)  # type: ignore[misc]
        if not self._rows_in_step:
            return loss
        all_equal = self._rows_in_step / (self.current_gradient_accumulation_steps * self.args.world_size)
        rows = self._rows_of(inputs)
        together = self.rows_together(rows)
        for name, values in self._metrics["train"].items():
            if name.startswith(self.per_row):
                values[-1] *= together / self.args.world_size / all_equal
        return loss * (rows / all_equal)

    def rows_together(self: Any, rows: int) -> int:
        """Rows in the micro-batches that all processes compute now, this one's `rows` among them."""
        if self.args.world_size == 1:
            return rows
        return int(self.accelerator.reduce(torch.tensor(rows, device=self.args.device)))


def _gather_any_number(accelerator: Any) -> None:
    """Let `accelerator.gather` take another number of rows from each process; its own waits for ever or worse."""
    gather = accelerator.gather

    def gather_rows(values: torch.Tensor) -> torch.Tensor:
        if values.dim() == 0:
            return gather(values)
        counts = gather(torch.tensor([len(values)], device=values.device)).tolist()
        room = values.new_zeros((max(counts), *values.shape[1:]))
        room[: len(values)] = values
        return torch.cat([part[:n] for part, n in zip(gather(room).chunk(len(counts)), counts, strict=True)])

    accelerator.gather = gather_rows
