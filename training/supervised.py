"""TRL's SFT trainer, with an LM head that scores only what the loss counts.

TRL does so where it has Triton. Elsewhere it scores every position, prompts and pads included, twice: on a
CPU that is a quarter of a step for a vocabulary of 49,152 (74 against 97 tokens/s for a model of 135M with
LoRA in fp32, one thread, micro-batches of 4 rows of 51 tokens, 30 % of them supervised). Same loss.
"""

from typing import Any

import torch  # noqa: TID253 - only job processes import this module
from trl import SFTTrainer  # noqa: TID253

from training.rows import NOT_SUPERVISED


class SupervisedTrainer(SFTTrainer):  # type: ignore[misc]
    """`SFTTrainer` whose loss on a CPU is the same sum over supervised tokens, computed on these alone."""

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        if inputs["input_ids"].is_cuda or self.aux_loss_enabled:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        labels = inputs["labels"][:, 1:]
        counted = labels != NOT_SUPERVISED
        with self.accelerator.autocast():
            hidden = self._backbone()(
                input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False
            ).last_hidden_state[:, :-1]
            logits = self.model.get_output_embeddings()(hidden[counted])
        loss = torch.nn.functional.cross_entropy(logits.float(), labels[counted].long(), reduction="sum")
        return loss / (counted.sum() if num_items_in_batch is None else num_items_in_batch)

    def _backbone(self) -> Any:
        """The transformer under the LM head, adapters in place."""
        inner = self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
        return inner.base_model
