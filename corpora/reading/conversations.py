"""The turns of a conversation as a trainer needs them: known roles in order, no empty words, an answer at the end.

Field access and checks that every format shares; which field holds what is left to `formats`. Reasons name fields
and places, never the text itself.
"""

from collections.abc import Mapping
from typing import Any

from corpora.reading.lines import RowError

Message = dict[str, str]

_ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
}
_SPELLINGS = (("role", "content"), ("from", "value"))


def value_at(fields: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path: keys of objects, numbers into lists. Raises RowError if there is none."""
    if path in fields:
        return fields[path]
    value: Any = fields
    for part in path.split("."):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            raise RowError(f"no field '{path}'")
    return value


def text_at(fields: Mapping[str, Any], path: str) -> str:
    """The text at a dotted path, not empty. Raises RowError."""
    value = value_at(fields, path)
    if not isinstance(value, str):
        raise RowError(f"field '{path}' is not text")
    if not value.strip():
        raise RowError(f"field '{path}' is empty")
    return value


def is_turns(value: Any) -> bool:
    """Whether a field holds a list of turns in one of the known spellings."""
    return isinstance(value, list) and bool(value) and all(_spelling(turn) for turn in value)


def turns(value: Any) -> list[Message]:
    """A list of turns in either spelling, roles as written. Raises RowError."""
    if not isinstance(value, list) or not value:
        raise RowError("no turns")
    return [_turn(turn, index) for index, turn in enumerate(value, start=1)]


def conversation(messages: list[Message]) -> list[Message]:
    """The messages with known roles and trimmed words: at most a system prompt, then user and assistant in turn.

    An empty system prompt is left out. Raises RowError if the order is another one, or words are missing.
    """
    named = [{"role": _role(m["role"], i), "content": m["content"].strip()} for i, m in enumerate(messages, start=1)]
    if named and named[0] == {"role": "system", "content": ""}:
        named = named[1:]
    start = 1 if named and named[0]["role"] == "system" else 0
    for index, message in enumerate(named[start:]):
        expected = ("user", "assistant")[index % 2]
        if message["role"] != expected:
            raise RowError(f"roles out of order: turn {index + 1} is of the {message['role']}, not of the {expected}")
        if not message["content"]:
            raise RowError(f"empty turn: turn {index + 1}")
    if len(named) - start < 2 or named[-1]["role"] != "assistant":
        raise RowError("no answer: the last turn is not of the assistant")
    return named


def single(asked: str, answered: str) -> list[Message]:
    """A conversation of one question and one answer. Raises RowError if one is empty."""
    return conversation([{"role": "user", "content": asked}, {"role": "assistant", "content": answered}])


def reply(value: Any, field: str) -> list[Message]:
    """An answer as turns: from plain text, one turn, or a list of turns. Raises RowError."""
    if isinstance(value, str):
        return [{"role": "assistant", "content": value}]
    if isinstance(value, dict):
        return turns([value])
    if isinstance(value, list):
        return turns(value)
    raise RowError(f"field '{field}' is neither text nor turns")


def _turn(turn: Any, index: int) -> Message:
    spelling = _spelling(turn)
    if spelling is None:
        raise RowError(f"unknown shape: turn {index} has neither role and content nor from and value")
    role, content = (turn[key] for key in spelling)
    if not isinstance(content, str):
        raise RowError(f"not text: the words of turn {index}")
    return {"role": role, "content": content}


def _spelling(turn: Any) -> tuple[str, str] | None:
    if not isinstance(turn, dict):
        return None
    return next((keys for keys in _SPELLINGS if isinstance(turn.get(keys[0]), str) and keys[1] in turn), None)


def _role(role: str, index: int) -> str:
    known = _ROLES.get(role.lower())
    if known is None:
        shown = f" '{role}'" if len(role) <= 24 and role.replace("_", "").isalnum() else ""
        raise RowError(f"unknown role{shown}: turn {index}")
    return known
