"""Preferences as OpenAI's fine-tuning takes them: an `input` of messages, and two outputs of which one is preferred."""

from typing import Any

from corpora.formats.conversations import Message, conversation, turns, with_system
from corpora.formats.format import Fields, Format, each
from corpora.formats.items import Item, Preference
from corpora.formats.tool_calls import tools_of
from corpora.reading.row import RowError

_BETTER, _WORSE = "preferred_output", "non_preferred_output"


def _fields(fields: Fields) -> str | None:
    outputs = all(isinstance(fields.get(name), list) for name in (_BETTER, _WORSE))
    return f"input, {_BETTER}, {_WORSE}" if outputs and _messages(fields) is not None else None


def _read(fields: Fields) -> Item:
    asked = _messages(fields)
    if asked is None:
        raise RowError("no messages in field 'input'")
    beside = {**fields, **fields["input"]}
    prompt = with_system(beside, turns(asked))
    better, worse = (conversation([*prompt, _output(fields, name)]) for name in (_BETTER, _WORSE))
    if better[-1] == worse[-1]:
        raise RowError(f"{_BETTER} and {_WORSE} are the same")
    return Preference(better[:-1], better[-1:], worse[-1:], tools_of(beside))


def _messages(fields: Fields) -> Any:
    given = fields.get("input")
    return given.get("messages") if isinstance(given, dict) else None


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
