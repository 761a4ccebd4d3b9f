"""Which token an answer takes next in GRPO: TRL generates, and `models.drawing` chooses in the place of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch  # noqa: TID253 - only job processes import this module
from transformers import LogitsProcessor, LogitsProcessorList  # noqa: TID253

from models.drawing import at, warped
from training.losses import shared_prompts


class Drawn(LogitsProcessor):  # type: ignore[misc]
    """Leaves one token possible in each row. numbers: (rows, new tokens), in [0, 1)."""

    def __init__(self, numbers: torch.Tensor, temperature: float, top_p: float) -> None:
        self._numbers = numbers
        self._warpers = warped(temperature, top_p)
        self._prompt: int | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """input_ids: (rows, tokens so far), of the prompts alone at the first call. scores: (rows, vocabulary)."""
        if self._prompt is None:
            self._prompt = input_ids.shape[1]
        number = self._numbers[:, input_ids.shape[1] - self._prompt, None]
        chosen = at(number, self._warpers(input_ids, scores.float()).softmax(-1))
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen, 0.0)


@contextmanager
def drawn_by(model: Any, drawn: Drawn, read_once: bool = False) -> Iterator[None]:
    """What `model` generates inside is drawn so. read_once: a prompt that is there several times is read once."""
    generate = model.generate

    def drawing(input_ids: torch.Tensor, attention_mask: torch.Tensor, **named: Any) -> Any:
        known = shared_prompts.read_once(model, input_ids, attention_mask) if read_once else {}
        given = {"input_ids": input_ids, "attention_mask": attention_mask, **known, **named}
        return generate(**given, logits_processor=LogitsProcessorList([drawn]))

    model.generate = drawing
    try:
        yield
    finally:
        del model.generate
