"""What the loss will see of a batch: the right labels, ends of turns among them, one start, pads by length.

A batch is as the trainer's own loader and collator give it: `input_ids`, `labels` and `attention_mask`, each of
(rows, length); or, packed, of (1, length of all rows), where `position_ids` begin again with every row. Rows are what
the upstream artefact holds: ids, and for each whether the loss counts it.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any

from lineage.checks import Check, check
from training.invariants import required
from training.rows import NOT_SUPERVISED

Row = tuple[Sequence[int], Sequence[bool]]


def rows_in(batch: Mapping[str, Any]) -> int:
    """How many rows a batch has."""
    return len(_by_row(batch, "labels"))


def labels_equal_mask(batch: Mapping[str, Any], rows: Sequence[Row]) -> Check:
    """Ids and labels of each row are those of the mixture and its mask, at the same places.

    Catches loss on prompt tokens (TRL's default for conversations; trl#5213, #6105), labels shifted twice, silent
    truncation (trl#3927, #6668) and rows in another order.
    """
    seen = list(zip(_by_row(batch, "input_ids"), _by_row(batch, "labels"), strict=True))
    wrong = abs(len(seen) - len(rows))
    for (ids, supervised), (seen_ids, seen_labels) in zip(rows, seen, strict=False):
        expected = [token if counts else NOT_SUPERVISED for token, counts in zip(ids, supervised, strict=True)]
        pads = [NOT_SUPERVISED] * (len(seen_ids) - len(ids))
        wrong += seen_ids[: len(ids)] != list(ids) or seen_labels != expected + pads
    return check(wrong == 0, wrong, f"of {len(rows)} rows of the first batch, those whose labels are not the mask's")


def pads_by_length(batch: Mapping[str, Any], rows: Sequence[Row]) -> Check:
    """A row is attended to over its length and nowhere else.

    Catches pads found by their id where pad and end of turn are one token, as in SmolLM2: the model then does not
    see the ends of earlier turns (trl#1623, #2059, #6357; transformers#48016). Packed rows have no pads: one that
    begins or ends at another place is not as long as it was.
    """
    lengths = [len(ids) for ids, _ in rows]
    if _is_packed(batch):
        wrong = int([len(row) for row in _by_row(batch, "input_ids")] != lengths)
    else:
        masks = _by_row(batch, "attention_mask")
        wrong = sum(
            mask != [1] * length + [0] * (len(mask) - length) for mask, length in zip(masks, lengths, strict=True)
        )
    return check(wrong == 0, wrong, f"of {len(rows)} rows of the first batch, those not attended to over their length")


def end_of_turn_learned(batch: Mapping[str, Any], end_ids: Collection[int]) -> Check:
    """Every row has a label that is the end of an assistant's turn.

    Catches what makes a model talk on for ever: ends masked as pads, cut off, or never written (trl#1623, #931;
    alignment-handbook#127).
    """
    missing = sum(not set(end_ids).intersection(row) for row in _by_row(batch, "labels"))
    return check(missing == 0, missing, "rows of the first batch without an end of turn among the labels: none may be")


def one_bos(rows: Sequence[Sequence[int]], bos_id: int | None, marks_turns: bool) -> Check:
    """No row has a second token that begins a text. `marks_turns`: the template writes it at every turn.

    Catches rendered text that is tokenised with special tokens once more (unsloth#2648; open-r1 PR#462; vllm#27515).
    Where the token marks turns, as in SmolLM2, two of them side by side are the second one.
    """
    doubled = 0
    for ids in rows:
        begins = [place for place, token in enumerate(ids) if token == bos_id]
        beside = any(after == place + 1 for place, after in pairwise(begins))
        doubled += beside or (not marks_turns and len(begins) > 1)
    return check(doubled == 0, doubled, "rows with a second token that begins a text: none may be")


def untouched(wrong: int, count: int, description: str, of: str = "pairs") -> Check:
    """Of a first batch of `count` pairs or answers, none is `wrong`. Raises TrainingError if one is."""
    return required(
        check(not wrong, count, description),
        f"the tokens that the trainer uses are not those of the {of}; this trl cannot be used",
    )


def answer_differs(batch: Mapping[str, Any], place: int, prompt: list[int], answer: list[int], side: str = "") -> bool:
    """Whether a row's ids or masks, of which `completion_mask` counts the answer, are not those of prompt and answer.

    side: what the names of the batch's fields begin with.
    """
    counted = batch[f"{side}completion_mask"][place].tolist()
    pad = [0] * (len(counted) - len(prompt + answer))
    return ids_differ(batch, place, prompt + answer, side) or counted != [0] * len(prompt) + [1] * len(answer) + pad


def ids_differ(batch: Mapping[str, Any], place: int, ids: list[int], side: str = "") -> bool:
    """Whether a row has other ids, before its pads, or is attended to elsewhere than over their length."""
    seen, mask = (batch[f"{side}{name}"][place].tolist() for name in ("input_ids", "attention_mask"))
    return bool(seen[: len(ids)] != ids or mask != [1] * len(ids) + [0] * (len(seen) - len(ids)))


def _by_row(batch: Mapping[str, Any], name: str) -> list[list[int]]:
    """A field of the batch, row by row, with the pads that a row has there."""
    if not _is_packed(batch):
        return [row.tolist() for row in batch[name]]
    flat, positions = batch[name][0].tolist(), batch["position_ids"][0].tolist()
    starts = [place for place, position in enumerate(positions) if position == 0]
    return [flat[start:end] for start, end in pairwise([*starts, len(flat)])]


def _is_packed(batch: Mapping[str, Any]) -> bool:
    return "position_ids" in batch
