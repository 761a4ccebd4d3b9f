"""TRL's ORPO trainer for pairs that are token ids already, with a loss on answers alone.

TRL 1.16's own, which it calls experimental, tokenises every pair itself, and learns the prompts of chosen answers
together with them. Here its preparation hands rows on as they are, and its forward pass scores the answers' tokens:
what is done with their log-probabilities is TRL's.
"""

from typing import Any, ClassVar

import torch  # noqa: TID253 - only job processes import this module
from trl.experimental.orpo import ORPOTrainer  # noqa: TID253
from trl.trainer.utils import add_fused_lm_head  # noqa: TID253

from training.loop.batching import LikeLengths, MeanOverRows


def with_head(model: Any) -> Any:
    """The model with TRL's head that gives log-probabilities in the place of logits; before PEFT wraps it."""
    add_fused_lm_head(model, outputs=("log_probs", "mean_logits"))
    return model


class OddsTrainer(LikeLengths, MeanOverRows, ORPOTrainer):  # type: ignore[misc]
    """`ORPOTrainer` on rows of ids, masks and labels of both conversations; its model comes from `with_head`."""

    per_row: ClassVar[tuple[str, ...]] = ("rewards/", "logps/", "nll_loss", "log_odds")

    def __init__(self, **arguments: Any) -> None:
        super().__init__(rows_of=lambda batch: len(batch["chosen_labels"]), **arguments)
        self._metrics, self._total_train_tokens = self._stored_metrics, 0  # as TRL's other trainers call them

    def tokenize_row(self, feature: dict[str, Any], *_: Any, **__: Any) -> dict[str, Any]:
        return feature

    def concatenated_forward(self, model: Any, batch: dict[str, Any]) -> tuple[torch.Tensor, ...]:
        """Mean log-probability of each chosen and each rejected answer, logits for the log, loss of chosen answers.

        That loss is the paper's, a mean over each answer's tokens, then over answers: TRL's, over all tokens of a
        micro-batch, would depend on which rows share one.
        """
        both = self.concatenated_inputs(batch, padding_value=self.padding_value, device=self.accelerator.device)
        labels = both["concatenated_labels"]
        scored = model(
            input_ids=both["concatenated_input_ids"],
            attention_mask=both["concatenated_attention_mask"],
            labels=labels,
            fused_lm_head=True,
        )
        counted = labels[:, 1:] != -100
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
