"""Answers token by token, a batch at a time: a prompt is read once, and a finished answer leaves its batch.

So a batch costs what its unfinished answers cost; `generate` of transformers reads a prompt once for each of its
answers, and keeps finished ones to the end. Which token comes next is said by whoever asks. Nothing of the checkpoint's
`generation_config.json` applies.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from models import drawing
from models.likelihood import left_padded

if TYPE_CHECKING:
    import torch

Choose = Callable[["torch.Tensor", list[int], int], tuple["torch.Tensor", "torch.Tensor"]]
"""The next tokens (rows,) and a value of each, which is finite unless a NaN or infinity decided the token. It is given
logits (rows, vocabulary), the numbers of their answers, and how many tokens these have already."""


@dataclass
class Decoded:
    """Token ids without the one that stopped it.

    stop: that one, None where a text or the limit stopped it. value: the sum of what whoever chose its tokens and its
    stop gave for each. cut: it was stopped by the limit. finite: no NaN or infinity decided a token.
    """

    tokens: list[int] = field(default_factory=list)
    stop: int | None = None
    value: float = 0.0
    cut: bool = False
    finite: bool = True


def greedy(logits: "torch.Tensor", _answers: list[int], _step: int) -> tuple["torch.Tensor", "torch.Tensor"]:
    """The likeliest tokens, and their logits."""
    best = logits.max(dim=-1)
    return best.indices, best.values


def drawn(numbers: "torch.Tensor", temperature: float, top_p: float) -> Choose:
    """Tokens at these numbers (answers, new tokens), and their log-probabilities by the model's own logits."""
    processors = drawing.warped(temperature, top_p)

    def choose(logits: "torch.Tensor", answers: list[int], step: int) -> tuple["torch.Tensor", "torch.Tensor"]:
        scores = logits.float()
        tokens = drawing.at(numbers[answers, step, None], processors(None, scores).softmax(-1))
        return tokens[:, 0], scores.log_softmax(-1).gather(-1, tokens)[:, 0]

    return choose


def decode(
    model: Any,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    stop_ids: frozenset[int],
    choose: Choose = greedy,
    *,
    copies: int = 1,
    ends: Callable[[list[int]], bool] = lambda _: False,
    tick: Callable[[int, int], None] = lambda _step, _ended: None,
) -> Iterator[tuple[int, Decoded]]:
    """`copies` answers to each prompt (token ids), each as it ends, by its number: prompt times copies plus copy.

    ends: whether an answer of these tokens is at its end. tick: told before each token which one it is, and how many
    answers have ended.
    """
    import torch
    from transformers import DynamicCache

    answers = [Decoded() for _ in range(len(prompts) * copies)]
    live = list(range(len(answers)))
    ids, mask, positions = left_padded(prompts, model.device)
    cache = DynamicCache(config=model.config)
    with torch.inference_mode():
        for step in range(max_new_tokens):
            logits = model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]
            if step == 0 and copies > 1:
                cache.batch_repeat_interleave(copies)
                logits, mask, positions = (each.repeat_interleave(copies, 0) for each in (logits, mask, positions))
            chosen, values = choose(logits, live, step)
            keep = []
            for slot, (number, token, value) in enumerate(zip(live, chosen.tolist(), values.tolist(), strict=True)):
                answer = answers[number]
                answer.finite = math.isfinite(value)
                answer.value += value
                if answer.finite and token in stop_ids:
                    answer.stop = token
                elif answer.finite:
                    answer.tokens.append(token)
                    if not ends(answer.tokens):
                        keep.append(slot)
                        continue
                yield number, answer
            tick(step, len(answers) - len(keep))
            if not keep:
                return
            ids, positions = chosen[:, None], positions[:, -1:] + 1
            mask = torch.cat([mask, mask.new_ones(len(live), 1)], dim=1)
            if len(keep) < len(live):
                left = torch.tensor(keep, device=ids.device)
                cache.batch_select_indices(left)
                ids, mask, positions = ids[left], mask[left], positions[left]
                live = [live[slot] for slot in keep]
    for number in live:
        answers[number].cut = True
        yield number, answers[number]
