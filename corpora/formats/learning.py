"""What a row says of itself about learning: turns, calls and rows that are to stand there and not to be learned, or to
count more or less than others in the loss.

A turn that is not learned stays as context (`weight` "0" of its message); one that says that it is to be learned has
`weight` "1", for mixtures of marked turns alone, or the number that its loss is multiplied by ("+0.5" where its row
alone says so, which marks no turn). What several marks say is their product. A mark that is not understood is refused
by its name, and a row of which nothing is to be learned, so that nothing is learned or dropped in silence. Field names
are those of TRL's, axolotl's, OpenAI's, Mistral's and ms-swift's data; null says nothing.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from corpora.formats.items import Conversation, Item, Preference, Ranking, Unpaired
from corpora.formats.judgements import number_of, said
from corpora.reading.row import NotToBeLearned, RowError
from models.messages import Message
from models.turns import learns

_LEARNED = ("loss", "train", "training")
_WEIGHTS = ("weight", "loss_weight", "loss_scale")
_NOT_LEARNED = ("masked",)
_PARTS = ("train_detail",)
_OF_ANYTHING = ("weight",)
"""Of a row, above 1, such a field may be about its loss or about something else."""
_PLAIN = (None, "0", "1")
_SWITCHES = {"on": True, "off": False}
_WITH_COMMA = re.compile(r"\s*-?\d+,\d+\s*")
_WEIGHS = "a weight of the loss, which examples to imitate alone can have"
_MARKS = (*_LEARNED, *_WEIGHTS, *_NOT_LEARNED, *_PARTS)
MARKS = frozenset(_MARKS)
"""Fields of turns, calls and rows that say whether these are to be learned."""


_LARGEST = 10.0
"""Of a weight: what is larger is something else, kilograms or votes say."""


def weight_of(turn: Mapping[str, Any], calls: Sequence[Any], index: int) -> dict[str, str]:
    """The `weight` of the message of an assistant's turn, by its own marks and those of all of its calls; nothing where
    it says nothing.

    calls: of the turn, as they are. Raises RowError for a mark that is not understood.
    """
    calls = [call for call in calls if isinstance(call, dict)]
    marks = {_product(_says(call, index), _says(_inside(call), index)) for call in calls}
    if len({1.0 if mark is None else mark for mark in marks}) > 1:
        raise RowError(f"calls of which some are not to be learned: turn {index}")
    weight = _product(_says(turn, index), *marks)
    return {} if weight is None else {"weight": _written(weight)}


def _product(*marks: float | None) -> float | None:
    """What marks say together; None if none says anything."""
    said = [mark for mark in marks if mark is not None]
    return math.prod(said) if said else None


def _written(weight: float) -> str:
    return f"{weight:.0f}" if weight.is_integer() else repr(weight)


def _times(mark: str | None, weight: float) -> str:
    """A mark times a weight of its row, which is no mark by itself: then it stands behind a plus."""
    return f"+{_written(weight)}" if mark is None else _written(weight * float(mark))


def weighted(item: Item, weight: float) -> Item:
    """The item, whose answers count so much in the loss. Raises RowError for one that has no such loss."""
    if weight == 1:
        return item
    if not isinstance(item, Conversation):
        raise RowError(f"{_WEIGHS}: the row's is {weight:g}")
    messages = [
        {**message, "weight": _times(message.get("weight"), weight)} if learns(message) else message
        for message in item.messages
    ]
    return replace(item, messages=messages)


def _inside(call: Mapping[str, Any]) -> Mapping[str, Any]:
    function = call.get("function")
    return function if isinstance(function, dict) else {}


def refuse_nothing_learned(item: Item) -> None:
    """Raises RowError for a conversation, or for an answer to compare, of which no turn is to be learned, and for an
    answer to compare that is weighed."""
    for messages in _answers(item):
        said = [message for message in messages if message["role"] == "assistant"]
        if said and not any(map(learns, said)):
            raise NotToBeLearned("no turn of the assistant is to be learned")
        if not isinstance(item, Conversation) and any(message.get("weight") not in _PLAIN for message in said):
            raise RowError(f"{_WEIGHS}: this one is of an answer to compare")


def weight_of_row(fields: Mapping[str, Any]) -> float:
    """What the loss of the whole row is multiplied by. What else such fields hold of a row, a measured loss or a weight
    in kilograms say, is not about learning.

    Raises RowError for a row that says that it is not to be learned.
    """
    weight = 1.0
    if MARKS.isdisjoint(fields):
        return weight
    if detail := next((name for name in _MARKS if fields.get(name) and isinstance(fields[name], list | dict)), None):
        raise RowError(f"'{detail}' marks parts of a row, which is not known")
    for name in (*_LEARNED, *_WEIGHTS, *_NOT_LEARNED):
        if _says_yes(fields.get(name)) is (name in _NOT_LEARNED) and not _negative(fields[name]):
            raise NotToBeLearned(f"field '{name}' says that the row is not to be learned")
    for name in _WEIGHTS:
        number = number_of(fields.get(name))
        if name in _OF_ANYTHING and number is not None and 1 < number <= _LARGEST:
            raise RowError(
                f"field '{name}' may be a weight of the loss above 1 or of something else: write columns: "
                f"{{loss_weight: {name}}} in the source if it is the loss's, and columns: {{category: {name}}} if not"
            )
        if number is not None and 0 < number <= (1 if name in _OF_ANYTHING else _LARGEST):
            weight *= number
        elif _is_no_weight(fields.get(name), name in _OF_ANYTHING):
            raise RowError(f"field '{name}' is no weight from 0 to {_LARGEST:g}")
    return weight


def _says_yes(value: Any) -> bool | None:
    """Whether a mark says yes or no, also as a switch does."""
    found = said(value)
    return _SWITCHES.get(value.strip().lower()) if found is None and isinstance(value, str) else found


def _is_no_weight(value: Any, may_be_anything: bool) -> bool:
    """Whether a row's weight, which is no number that is heard, was meant for one."""
    if value is None or (_says_yes(value) is not None and not _negative(value)):
        return False
    return not may_be_anything or _negative(value) or (isinstance(value, str) and bool(_WITH_COMMA.fullmatch(value)))


def _negative(value: Any) -> bool:
    """As of a vote, which says no; of no mark it says anything."""
    number = number_of(value)
    return number is not None and number < 0


def refuse_marked_part(part: Mapping[str, Any], index: int) -> None:
    """Raises RowError for a part of a turn that says whether it is to be learned."""
    if not MARKS.isdisjoint(part) and (name := next((n for n in _MARKS if part.get(n) is not None), None)) is not None:
        raise RowError(_in_parts(name, index))


def _in_parts(name: str, index: int) -> str:
    return f"'{name}' marks parts of a turn, which is not known: turn {index}"


def _says(marked: Mapping[str, Any], index: int) -> float | None:
    """What a turn or a call says that its loss is multiplied by: 1 if it is to be learned, 0 if it is not."""
    weight: float | None = None
    for name in () if MARKS.isdisjoint(marked) else _MARKS:
        if (value := marked.get(name)) is None:
            continue
        if name in _PARTS:
            raise RowError(_in_parts(name, index))
        found, number = _says_yes(value), number_of(value)
        if found is not None and not _negative(value):
            weight = _product(weight, float(found is not (name in _NOT_LEARNED)))
        elif name in _WEIGHTS and number is not None and 0 < number <= _LARGEST:
            weight = _product(weight, number)
        else:
            what = f"is no weight from 0 to {_LARGEST:g}" if name in _WEIGHTS else "says neither yes nor no"
            raise RowError(f"a turn whose '{name}' {what}: turn {index}")
    return weight


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
