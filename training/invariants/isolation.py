"""Documents that share a row of tokens are read as each is alone: on a micro-batch in the very form that trains.

What keeps them apart depends on that form: a mask that is made from positions, or the lengths that a kernel is given.
Flash attention takes lengths from positions where a batch has one row, and where it has two it looks at none of them
(transformers#39121). So a micro-batch is taken as the trainer's loader and collator give it, goes through the model
as the loss sends it, and every document in every row of it is compared with the same document alone.
"""

from collections.abc import Sequence
from typing import Any

import torch  # noqa: TID253 - only job processes import this module

from lineage.checks import Check, check
from training.quantized import is_quantized

TOLERANCE = {"fp32": 1e-3, "bf16": 6e-2}
"""Of the states' size. Rounding gave 1e-7 in fp32 and 2e-3 in bf16 (30 layers of random weights), where documents that
saw each other were apart by 1.5."""

_BLOCK = 16
"""Tokens whose states are compared together: one alone is rounded by chance, and in a long document most tokens hardly
notice a few words before it."""

Document = tuple[int, list[int]]
"""Where in a batch, its rows end to end, a document begins, and its tokens."""


def densest(micro_batches: Sequence[list[int]], documents: Sequence[int]) -> list[int]:
    """The micro-batch with the most documents, if there is one among those with two or more in each of its rows.

    micro_batches: places in the training set. documents: how many there are at each place.
    """

    def worth(places: list[int]) -> tuple[bool, int]:
        counts = [documents[place] for place in places]
        return min(counts) > 1, sum(counts)

    return max(micro_batches, key=worth)


def placed(batch: dict[str, Any], rows: Sequence[Sequence[list[int]]]) -> list[Document]:
    """The documents of a batch, padded row by row or all rows end to end. rows: the documents of each row."""
    width = batch["input_ids"].shape[1]
    found: list[Document] = []
    start = 0
    for number, row in enumerate(rows):
        start = number * width if len(batch["input_ids"]) == len(rows) else start
        for ids in row:
            found.append((start, ids))
            start += len(ids)
    return found


def documents_apart(trainer: Any, batch: dict[str, Any], documents: Sequence[Document], precision: str) -> Check:
    """The last hidden states of every document in a micro-batch are those that it has alone, but for rounding.

    batch: as the trainer's own loader and collator give it. Catches attention over a whole row where a micro-batch has
    several (transformers#39121), positions that run on, a mask of ones (transformers#46634), lengths that are not the
    documents'.
    """
    tolerance = TOLERANCE["bf16" if is_quantized(trainer.model) else precision]
    model, was_training = trainer.model, trainer.model.training
    plain = model.get_base_model() if hasattr(model, "get_base_model") else model
    inputs = trainer._prepare_inputs(dict(batch))
    model.eval()
    errors, sizes = [], []
    with torch.no_grad(), trainer.accelerator.autocast():
        together = _as_trained(model, plain.base_model, inputs)
        for group in _groups(documents, inputs["input_ids"].numel()):
            for (start, ids), alone in zip(group, _each_alone(plain.base_model, group), strict=True):
                errors += _blocks(together[start : start + len(ids)] - alone)
                sizes += _blocks(alone)
    model.train(was_training)
    apart = float((torch.stack(errors).max() / torch.stack(sizes).mean()).sqrt())
    return check(
        apart <= tolerance,
        apart,
        f"each of {len(documents)} documents of a micro-batch, as it is trained, has the states that it has alone, "
        f"within {tolerance:g} of their size: documents do not see each other",
    )


def _as_trained(model: Any, backbone: Any, inputs: dict[str, Any]) -> torch.Tensor:
    """Last hidden states (slots, width) of a batch that goes through the model as the loss sends it."""
    seen: list[torch.Tensor] = []
    hook = backbone.register_forward_hook(lambda _module, _inputs, output: seen.append(output.last_hidden_state))
    try:
        model(**inputs, use_cache=False, fused_lm_head=True)
    finally:
        hook.remove()
    (states,) = seen
    return states.flatten(0, 1).float()


def _groups(documents: Sequence[Document], slots: int) -> list[list[Document]]:
    """Documents of like lengths, together as many as fill so many slots when padded to the longest."""
    groups: list[list[Document]] = []
    for document in sorted(documents, key=lambda document: -len(document[1])):
        if not groups or (len(groups[-1]) + 1) * len(groups[-1][0][1]) > slots:
            groups.append([])
        groups[-1].append(document)
    return groups


def _each_alone(backbone: Any, group: Sequence[Document]) -> list[torch.Tensor]:
    """Last hidden states (tokens, width) of documents a row each. They see nothing of the pads, which come behind."""
    longest = max(len(ids) for _, ids in group)
    padded = torch.tensor([ids + [0] * (longest - len(ids)) for _, ids in group], device=backbone.device)
    states = backbone(input_ids=padded, use_cache=False).last_hidden_state.float()
    return [row[: len(ids)] for row, (_, ids) in zip(states, group, strict=True)]


def _blocks(values: torch.Tensor) -> list[torch.Tensor]:
    """Mean square (of whole states) by block of a document's tokens."""
    return [block.mean() for block in values.square().sum(-1).split(_BLOCK)]
