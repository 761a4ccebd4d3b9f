"""Preferences as OpenAI's fine-tuning takes them: an `input` of messages, and two outputs of which one is preferred."""

from typing import Any

from corpora.formats.conversations import SYSTEMS, Message, conversation, turns, with_system
from corpora.formats.format import Fields, Format, each
from corpora.formats.items import Item, Preference
from corpora.formats.judgements import JUDGES
from corpora.formats.learning import MARKS
from corpora.formats.tool_calls import FUNCTIONS, tools_of
from corpora.reading.json_row import NotJson, value_of
from corpora.reading.row import RowError

_BETTER, _WORSE = "preferred_output", "non_preferred_output"


def _fields(fields: Fields) -> str | None:
    outputs = all(isinstance(fields.get(name), list) for name in (_BETTER, _WORSE))
    return f"input, {_BETTER}, {_WORSE}" if outputs and _messages(fields) is not None else None


def _read(fields: Fields) -> Item:
    asked = _messages(fields)
    if asked is None:
        raise RowError("no messages in field 'input'")
    beside = _beside(fields)
    prompt = with_system(beside, turns(asked))
    better, worse = (conversation([*prompt, _output(fields, name)]) for name in (_BETTER, _WORSE))
    if better[-1] == worse[-1]:
        raise RowError(f"{_BETTER} and {_WORSE} are the same")
    return Preference(better[:-1], better[-1:], worse[-1:], tools_of(beside))


def _messages(fields: Fields) -> Any:
    given = _input(fields)
    return given.get("messages") if isinstance(given, dict) else None


def _input(fields: Fields) -> Any:
    """The prompt's object, also as JSON text."""
    given = fields.get("input")
    try:
        return value_of(given) if isinstance(given, str) and given.lstrip().startswith("{") else given
    except NotJson:
        return given


def _beside(fields: Fields) -> Fields:
    """System prompt and functions of the row, or of its prompt. Raises RowError if it says two things of them."""
    given = _input(fields)
    if unheard := sorted((MARKS | JUDGES).intersection(name for name in given if given[name] is not None)):
        raise RowError(f"'{unheard[0]}' inside field 'input' is not heard there: write it beside")
    for name in (*SYSTEMS, *FUNCTIONS):
        if fields.get(name) and given.get(name) and fields[name] != given[name]:
            raise RowError(f"'{name}' in field 'input' is another one than beside it")
    return {**{name: value for name, value in fields.items() if name != "input"}, **given}


def _output(fields: Fields, name: str) -> Message:
    given = fields.get(name)
    if not isinstance(given, list) or len(given) != 1:
        raise RowError(f"expected one message of the assistant in field '{name}'")
    [message] = turns(given)
    return message


FORMATS = (
    Format(
        "openai_preference",
        "preference",
        f"input.messages, {_BETTER}, {_WORSE}",
        _fields,
        each(_read),
        frozenset((_BETTER,)),
        ((_BETTER, _WORSE),),
    ),
)
