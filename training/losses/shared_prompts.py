"""Answers to one prompt go through the model behind one copy of it, not each behind a copy of its own.

Of eight answers of ten tokens to a prompt of fifty, 420 of 480 tokens are the prompt said again. Here an answer's
tokens see the prompt and what is before them in their own answer, at the positions that they would have alone, so
that the values are those of the rows apart.
"""

from collections.abc import Sequence
from typing import Any

import torch  # noqa: TID253 - only job processes import this module


def possible(model: Any) -> bool:
    """Whether the model lets each token see what a mask says: neither windows nor states that run over the row."""
    config = model.config.get_text_config()
    layers = getattr(config, "layer_types", None) or ["full_attention"]
    attention = getattr(config, "_attn_implementation", None)
    return (
        set(layers) == {"full_attention"}
        and getattr(config, "sliding_window", None) is None
        and hasattr(config, "rope_parameters")
        and attention in ("sdpa", "eager")
    )


def together(prompts: Sequence[Sequence[int]]) -> list[list[int]]:
    """Numbers of the rows that have the same prompt, by prompt."""
    found: dict[tuple[int, ...], list[int]] = {}
    for row, prompt in enumerate(prompts):
        found.setdefault(tuple(prompt), []).append(row)
    return list(found.values())


def hidden(
    backbone: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, counted: torch.Tensor
) -> torch.Tensor | None:
    """Last hidden states (counted positions, width), row by row; None where no rows share a prompt.

    input_ids, attention_mask: (rows, length). counted: (rows, length - 1), at the position before each token of an
    answer, which ends its row.
    """
    rows = [row[kept].tolist() for row, kept in zip(input_ids, attention_mask.bool(), strict=True)]
    lengths = counted.sum(1).tolist()
    prompts = [row[: len(row) - length] for row, length in zip(rows, lengths, strict=True)]
    groups = together(prompts)
    if len(groups) == len(rows) or not all(prompts):
        return None
    packed = []
    for group in groups:
        packed.append(prompts[group[0]] + [token for row in group for token in _seen(rows[row], lengths[row])])
    longest = max(map(len, packed))
    together_ids = input_ids.new_zeros((len(groups), longest))
    places = input_ids.new_zeros((len(groups), longest))
    sees = torch.eye(longest, dtype=torch.bool, device=input_ids.device).repeat(len(groups), 1, 1)
    of_row: dict[int, tuple[int, list[int]]] = {}
    for number, group in enumerate(groups):
        together_ids[number, : len(packed[number])] = input_ids.new_tensor(packed[number])
        prompt = end = len(prompts[group[0]])
        places[number, :prompt] = torch.arange(prompt, device=input_ids.device)
        sees[number, :prompt, :prompt] = sees.new_ones((prompt, prompt)).tril()
        for row in group:
            start, end = end, end + max(lengths[row] - 1, 0)
            places[number, start:end] = torch.arange(prompt, prompt + end - start, device=input_ids.device)
            sees[number, start:end, :prompt] = True
            sees[number, start:end, start:end] = sees.new_ones((end - start, end - start)).tril()
            of_row[row] = number, [prompt - 1, *range(start, end)][: lengths[row]]
    states = backbone(
        input_ids=together_ids, attention_mask=_as_mask(backbone, sees[:, None]), position_ids=places, use_cache=False
    ).last_hidden_state
    return torch.cat([states[number, at] for number, at in (of_row[row] for row in range(len(rows)))])


def _seen(row: list[int], length: int) -> list[int]:
    """An answer's tokens that another one follows."""
    return row[len(row) - length : -1] if length else []


def _as_mask(backbone: Any, sees: torch.Tensor) -> torch.Tensor:
    if backbone.config._attn_implementation == "sdpa":
        return sees
    least = torch.finfo(backbone.dtype).min
    return torch.zeros_like(sees, dtype=backbone.dtype).masked_fill(~sees, least)


def read_once(model: Any, ids: torch.Tensor, mask: torch.Tensor) -> dict[str, Any]:
    """What `generate` is told of prompts that are there several times: their keys and values, computed once for each.

    ids, mask: (rows, length), padded on the left. Empty where every prompt is there once.
    """
    groups = together([[*row, *kept] for row, kept in zip(ids.tolist(), mask.tolist(), strict=True)])
    if len(groups) == len(ids) or ids.shape[1] == 1:
        return {}
    from transformers import DynamicCache

    first = torch.tensor([group[0] for group in groups], device=ids.device)
    of_row = torch.empty(len(ids), dtype=torch.long, device=ids.device)
    for number, group in enumerate(groups):
        of_row[group] = number
    read = mask[first, :-1]
    cache = DynamicCache(config=model.config)
    places = (read.cumsum(-1) - 1).clamp(min=0)
    model(
        input_ids=ids[first, :-1],
        attention_mask=read,
        position_ids=places,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    cache.batch_select_indices(of_row)
    return {"past_key_values": cache}
