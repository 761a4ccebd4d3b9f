"""Which token an answer takes next, as a function of seed, step, row and position, and of no random state.

A number in [0, 1) is fixed for each of them before the model is asked; the token is the one at which the cumulated
probabilities pass it. So the answers of a step are the same ones however many processes give them and after whatever
resume, but for rounding of the probabilities themselves.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch  # noqa: TID253 - only job processes import this module
from transformers import (  # noqa: TID253
    LogitsProcessor,
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from training.losses import shared_prompts


class Drawn(LogitsProcessor):  # type: ignore[misc]
    """Leaves one token possible in each row. numbers: (rows, new tokens), in [0, 1)."""

    def __init__(self, numbers: torch.Tensor, temperature: float, top_p: float) -> None:
        self._numbers = numbers
        self._warpers = LogitsProcessorList([TemperatureLogitsWarper(temperature)])
        if top_p < 1:
            self._warpers.append(TopPLogitsWarper(top_p))
        self._prompt: int | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """input_ids: (rows, tokens so far), of the prompts alone at the first call. scores: (rows, vocabulary)."""
        if self._prompt is None:
            self._prompt = input_ids.shape[1]
        number = self._numbers[:, input_ids.shape[1] - self._prompt, None]
        chosen = at(number, self._warpers(input_ids, scores.float()).softmax(-1))
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen, 0.0)


def at(number: torch.Tensor, probabilities: torch.Tensor) -> torch.Tensor:
    """The tokens (rows, 1) at which cumulated probabilities (rows, vocabulary) pass the numbers (rows, 1)."""
    reached = probabilities.double().cumsum(-1)
    wanted = number.to(reached) * reached[:, -1:]
    return torch.searchsorted(reached, wanted, right=True).clamp_(max=reached.shape[1] - 1)


def numbers(seed: int, step: int, rows: range, new_tokens: int) -> torch.Tensor:
    """For each of these rows of a step, one for each new token, from Philox counters (Salmon et al. 2011)."""
    import numpy as np

    of_rows = [
        np.random.Generator(np.random.Philox(key=[seed, step], counter=[0, row, 0, 0])).random(new_tokens)
        for row in rows
    ]
    return torch.tensor(np.stack(of_rows))


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
