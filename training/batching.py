"""TRL's SFT trainer on micro-batches of rows of like lengths.

Which rows share a micro-batch is decided in `rows`, and their number in a step stays that of the settings, so the
trainer's own accumulation, its loss per supervised token and its resuming are as they were. The loss of a step
does not depend on how its rows are divided; a mean over rows, as DPO's, would.
"""

from typing import Any

from torch.utils.data import DataLoader  # noqa: TID253 - only job processes import this module
from trl import SFTTrainer  # noqa: TID253


class TrainerOfLikeLengths(SFTTrainer):  # type: ignore[misc]
    """`micro_batches`: places in the training set, in the order of training; every epoch takes the same."""

    def __init__(self, *, micro_batches: list[list[int]], **arguments: Any) -> None:
        super().__init__(**arguments)
        self._micro_batches = micro_batches

    def get_train_dataloader(self) -> Any:
        columns = self._remove_unused_columns(self.train_dataset, description="Training")
        return self.accelerator.prepare(
            DataLoader(
                columns,
                batch_sampler=self._micro_batches,
                collate_fn=self.data_collator,
                pin_memory=self.args.dataloader_pin_memory,
            )
        )
