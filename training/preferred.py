"""TRL's DPO and KTO trainers for answers that are token ids already.

TRL 1.16 tokenises the text of every answer itself, with its own template and its own idea of where an answer
begins, and keeps DPO's reference log-probabilities in a cache file that a second job does not find; it offers no
way round either. Here its preparations hand the rows on as they are: `training.reference` gives them their values.
"""

from typing import Any

from trl import DPOTrainer, KTOTrainer  # noqa: TID253 - only job processes import this module

from training.batching import LikeLengths, MeanOverRows


class PreferenceTrainer(LikeLengths, MeanOverRows, DPOTrainer):  # type: ignore[misc]
    """`DPOTrainer` on rows of `prompt_ids`, `chosen_ids`, `rejected_ids`."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(rows_of=pairs_of, **arguments)

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset

    def _precompute_ref_logps(self, dataset: Any, *_: Any) -> Any:
        return dataset


class UnpairedTrainer(KTOTrainer):  # type: ignore[misc]
    """`KTOTrainer` on rows of `prompt_ids`, `completion_ids`, `KL_completion_ids`, `label`."""

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset


def pairs_of(batch: dict[str, Any]) -> int:
    """Pairs in a batch: chosen conversations first, then as many rejected ones."""
    return len(batch["input_ids"]) // 2
