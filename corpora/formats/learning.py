"""What a row says of itself about learning: turns, calls and rows that are to stand there and not to be learned.

Such a turn stays as context (`weight` "0" of its message); one that says that it is to be learned has `weight` "1",
for mixtures of marked turns alone. A mark that is not understood is refused by its name, and
a row of which nothing is to be learned, so that nothing is learned or dropped in silence. Field names are those of
TRL's, axolotl's, OpenAI's, Mistral's and ms-swift's data; null says nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from corpora.formats.items import Conversation, Item, Preference, Ranking, Unpaired
from corpora.formats.judgements import number_of, said
from corpora.reading.row import RowError
from models.messages import Message
from models.turns import learns

_LEARNED = ("loss", "train", "training")
_WEIGHTS = ("weight", "loss_weight", "loss_scale")
_NOT_LEARNED = ("masked",)
_PARTS = ("train_detail",)
_MARKS = (*_LEARNED, *_WEIGHTS, *_NOT_LEARNED, *_PARTS)
MARKS = frozenset(_MARKS)
"""Fields of turns, calls and rows that say whether these are to be learned."""


def weight_of(turn: Mapping[str, Any], calls: Sequence[Any], index: int) -> dict[str, str]:
    """The `weight` of the message of an assistant's turn: "0" of one that is context alone, "1" of one that is marked
    to be learned, by itself or by all of its calls; nothing where it says nothing.

    calls: of the turn, as they are. Raises RowError for a mark that is not understood.
    """
    calls = [call for call in calls if isinstance(call, dict)]
    marks = {_both(_says(call, index), _says(_inside(call), index)) for call in calls}
    if len({found is False for found in marks}) > 1:
        raise RowError(f"calls of which some are not to be learned: turn {index}")
    learned = _both(_says(turn, index), *marks)
    return {} if learned is None else {"weight": "1" if learned else "0"}


def _both(*marks: bool | None) -> bool | None:
    """What marks say together: no, if one of them does, and yes, if one does and none says no."""
    return False if False in marks else True if True in marks else None


def _inside(call: Mapping[str, Any]) -> Mapping[str, Any]:
    function = call.get("function")
    return function if isinstance(function, dict) else {}


def refuse_nothing_learned(item: Item) -> None:
    """Raises RowError for a conversation, or for an answer to compare, of which no turn is to be learned."""
    for messages in _answers(item):
        said = [message for message in messages if message["role"] == "assistant"]
        if said and not any(map(learns, said)):
            raise RowError("no turn of the assistant is to be learned")


def refuse_unlearned(fields: Mapping[str, Any]) -> None:
    """Raises RowError for a row that says that it is not to be learned as a whole. What else such fields hold of a row,
    a measured loss say, is not about learning."""
    if MARKS.isdisjoint(fields):
        return
    if (detail := next((name for name in _PARTS if isinstance(fields.get(name), list | dict)), None)) is not None:
        raise RowError(f"'{detail}' marks parts of a row, which is not known")
    for name in _WEIGHTS:
        if (number := number_of(fields.get(name))) is not None and 0 < number < 1:
            raise RowError(f"field '{name}' is a fraction, and a row is learned or not")
    for name in (*_LEARNED, *_WEIGHTS, *_NOT_LEARNED):
        if said(fields.get(name)) is (name in _NOT_LEARNED):
            raise RowError(f"field '{name}' says that the row is not to be learned")


def refuse_marked_part(part: Mapping[str, Any], index: int) -> None:
    """Raises RowError for a part of a turn that says whether it is to be learned."""
    if not MARKS.isdisjoint(part) and (name := next((n for n in _MARKS if part.get(n) is not None), None)) is not None:
        raise RowError(_in_parts(name, index))


def _in_parts(name: str, index: int) -> str:
    return f"'{name}' marks parts of a turn, which is not known: turn {index}"


def _says(marked: Mapping[str, Any], index: int) -> bool | None:
    """Whether a turn or a call says that it is to be learned, or that it is not."""
    learned: bool | None = None
    for name in () if MARKS.isdisjoint(marked) else _MARKS:
        if (value := marked.get(name)) is None:
            continue
        if name in _PARTS:
            raise RowError(_in_parts(name, index))
        if (found := said(value)) is None:
            what = "is neither 0 nor 1" if name in _WEIGHTS else "says neither yes nor no"
            raise RowError(f"a turn whose '{name}' {what}: turn {index}")
        learned = _both(learned, found is not (name in _NOT_LEARNED))
    return learned


def _answers(item: Item) -> list[list[Message]]:
    match item:
        case Conversation():
            return [item.messages]
        case Preference():
            return [item.chosen, item.rejected]
        case Unpaired():
            return [item.completion]
        case Ranking():
            return [answer["messages"] for answer in item.answers]
        case _:
            return []
