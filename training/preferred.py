"""TRL's DPO and KTO trainers for answers that are token ids already.

TRL 1.16 tokenises the text of every answer itself, with its own template and its own idea of where an answer
begins, and offers no way round. Here its preparation of the dataset hands the rows on as they are.
"""

from typing import Any

from trl import DPOTrainer, KTOTrainer  # noqa: TID253 - only job processes import this module


class PreferenceTrainer(DPOTrainer):  # type: ignore[misc]
    """`DPOTrainer` on rows of `prompt_ids`, `chosen_ids`, `rejected_ids`."""

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset


class UnpairedTrainer(KTOTrainer):  # type: ignore[misc]
    """`KTOTrainer` on rows of `prompt_ids`, `completion_ids`, `KL_completion_ids`, `label`."""

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset
