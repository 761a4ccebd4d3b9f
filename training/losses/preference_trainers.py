"""TRL's DPO, KTO and reward trainers for answers that are token ids already.

TRL 1.16 tokenises the text of every answer itself, with its own template and its own idea of where an answer
begins, and keeps DPO's reference log-probabilities in a cache file that a second job does not find; it offers no
way round either. Here its preparations hand the rows on as they are: `losses.reference` gives them their values.
"""

from typing import Any, ClassVar

import torch  # noqa: TID253 - only job processes import this module
from trl import DPOTrainer, KTOTrainer, RewardTrainer  # noqa: TID253

from training.loop.batching import LikeLengths, MeanOverRows


class PreferenceTrainer(LikeLengths, MeanOverRows, DPOTrainer):  # type: ignore[misc]
    """`DPOTrainer` on rows of `prompt_ids`, `chosen_ids`, `rejected_ids`."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(rows_of=pairs_of, **arguments)

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset

    def _precompute_ref_logps(self, dataset: Any, *_: Any) -> Any:
        return dataset


class ScoreTrainer(LikeLengths, MeanOverRows, RewardTrainer):  # type: ignore[misc]
    """`RewardTrainer` on rows of `chosen_ids`, `rejected_ids`, each a whole conversation."""

    per_row: ClassVar[tuple[str, ...]] = ("accuracy", "margin", "mean_reward")

    def __init__(self, **arguments: Any) -> None:
        super().__init__(rows_of=pairs_of, **arguments)


class UnpairedTrainer(LikeLengths, MeanOverRows, KTOTrainer):  # type: ignore[misc]
    """`KTOTrainer` on rows of `prompt_ids`, `completion_ids`, `KL_completion_ids`, `label`."""

    per_row: ClassVar[tuple[str, ...]] = ()

    def __init__(self, **arguments: Any) -> None:
        super().__init__(rows_of=lambda batch: len(batch["label"]), **arguments)

    def _compute_kl_logps(self, model: Any, batch: dict[str, Any]) -> torch.Tensor | None:
        """Weighed so that TRL's mean over processes of their means is the mean over rows, in whatever shares."""
        rows = len(batch["label"])
        logps: torch.Tensor | None = super()._compute_kl_logps(model, batch)
        return None if logps is None else logps * (rows * self.args.world_size / self.rows_together(rows))

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset


def pairs_of(batch: dict[str, Any]) -> int:
    """Pairs in a batch: chosen conversations first, then as many rejected ones."""
    return len(batch["input_ids"]) // 2
