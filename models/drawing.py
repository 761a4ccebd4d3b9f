"""Which token an answer takes next, as a function of numbers that are fixed before the model is asked.

A number in [0, 1) belongs to a seed, a stream, a row and a position; the token is the one at which the cumulated
probabilities pass it. So the answers are the same ones however many processes give them, in whatever order and after
whatever resume, but for rounding of the probabilities themselves.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def numbers(seed: int, stream: int, rows: Sequence[int], new_tokens: int) -> "torch.Tensor":
    """(rows, new tokens), in [0, 1), from Philox counters (Salmon et al. 2011)."""
    import numpy as np
    import torch

    of_rows = [
        np.random.Generator(np.random.Philox(key=[seed, stream], counter=[0, row, 0, 0])).random(new_tokens)
        for row in rows
    ]
    return torch.tensor(np.stack(of_rows))


def warped(temperature: float, top_p: float) -> Any:
    """What turns logits (rows, vocabulary) into those that are drawn from: transformers' processors."""
    from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopPLogitsWarper

    found = LogitsProcessorList([TemperatureLogitsWarper(temperature)])
    if top_p < 1:
        found.append(TopPLogitsWarper(top_p))
    return found


def at(number: "torch.Tensor", probabilities: "torch.Tensor") -> "torch.Tensor":
    """The tokens (rows, 1) at which cumulated probabilities (rows, vocabulary) pass the numbers (rows, 1)."""
    import torch

    reached = probabilities.double().cumsum(-1)
    wanted = number.to(reached) * reached[:, -1:]
    return torch.searchsorted(reached, wanted, right=True).clamp_(max=reached.shape[1] - 1)
