"""What a row says of itself about learning: turns, calls and rows that are to stand there and not to be learned.

All that is read is learned, so whatever says otherwise is refused by its name, and never learned in silence. Field
names are those of TRL's, axolotl's, OpenAI's, Mistral's and ms-swift's data; null says nothing.
"""

from collections.abc import Mapping
from typing import Any

from corpora.formats.judgements import said
from corpora.reading.row import RowError

_LEARNED = ("loss", "train", "training")
_WEIGHTS = ("weight", "loss_weight", "loss_scale")
_NOT_LEARNED = ("masked",)
_PARTS = ("train_detail",)
_MARKS = (*_LEARNED, *_WEIGHTS, *_NOT_LEARNED, *_PARTS)
_ANY = frozenset(_MARKS)


def refuse_unlearned_turn(turn: Mapping[str, Any], index: int) -> None:
    """Raises RowError for a turn of the assistant that says, itself or by a call, anything but that it is learned."""
    calls = turn.get("tool_calls")
    for marked in (turn, *(call for call in (calls if isinstance(calls, list) else []) if isinstance(call, dict))):
        for name in () if _ANY.isdisjoint(marked) else _MARKS:
            if (value := marked.get(name)) is not None:
                _refuse(name, value, index)


def refuse_unlearned(fields: Mapping[str, Any]) -> None:
    """Raises RowError for a row that says that it is not to be learned as a whole. What else such fields hold of a row,
    a measured loss say, is not about learning."""
    if _ANY.isdisjoint(fields):
        return
    for name in (*_LEARNED, *_WEIGHTS, *_NOT_LEARNED):
        if said(fields.get(name)) is (name in _NOT_LEARNED):
            raise RowError(f"field '{name}' says that the row is not to be learned")


def _refuse(name: str, value: Any, index: int) -> None:
    if name in _PARTS:
        raise RowError(f"'{name}' marks parts of a turn, which is not known: turn {index}")
    learned = said(value)
    if learned is (name in _NOT_LEARNED):
        raise RowError(f"a turn whose '{name}' says that it is not to be learned: turn {index}")
    if learned is None:
        what = "is neither 0 nor 1" if name in _WEIGHTS else "says neither yes nor no"
        raise RowError(f"a turn whose '{name}' {what}: turn {index}")
