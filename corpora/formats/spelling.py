"""Turns in the words of a source, into the ones that the formats know: by the recipe's `turns`, or by plain signs.

Without a word of the recipe, turns that are pairs of roles and words ({human, assistant}) are read as turns, and so
is JSON text of an object that holds messages. What else a source means by its names, or does about turns that stand
in no order to learn from, is for its recipe to say; nothing is guessed.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from corpora.formats.conversations import ROLES, SYSTEMS, is_turns
from corpora.formats.prompts import prompt_field
from corpora.reading.row import RowError
from models.thoughts import parted
from recipes.sources import Source, Turns

_Turn = dict[str, Any]
_ANSWERS = ("chosen", "rejected")
_PARTS = (*_ANSWERS, "prompt", "completion", "context", "replies")
"""Fields that hold parts of a conversation."""
_OPENAI = "input"
"""The field of OpenAI's preferences, an object that is read as it is."""
_BESIDE = (*SYSTEMS, "tools", "functions")
_AS_THEY_STAND = {"opening": "refuse", "last_user": "refuse"}
_JOINT = "\n\n"
_MORE = ("tool_calls", "function_call", "reasoning_content", "reasoning", "thinking")
"""Fields in which a turn holds more than its words."""


def in_known_words(source: Source, fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a row, with its turns as the recipe's `turns` says they are meant, out of objects that hold them.

    Raises RowError if such an object says otherwise of functions or the system prompt than the row, or than another.
    """
    said = source.turns
    changed: dict[str, Any] = {}
    for name, value in fields.items():
        held = _opened(name, value)
        whole = name not in _PARTS or (name in _ANSWERS and prompt_field(fields) is None)
        own = held.get("messages") if isinstance(held, dict) else held
        found = _turns(own, value, said if whole or said.is_silent else said.model_copy(update=_AS_THEY_STAND))
        if found is None:
            continue
        for key in _BESIDE if isinstance(held, dict) else ():
            if not held.get(key):
                continue
            if (known := changed.get(key) or fields.get(key)) and known != held[key]:
                raise RowError(f"'{key}' in field '{name}' is another one than beside it")
            changed[key] = held[key]
        changed[name] = found
    return {**fields, **changed} if changed else fields


def _opened(name: str, value: Any) -> Any:
    """A field's value, read if it is JSON text of turns or of an object that holds them."""
    if isinstance(value, str) and value.lstrip().startswith(("{", "[{")):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, list) or (isinstance(value, dict) and name != _OPENAI) else None


def _turns(held: Any, value: Any, said: Turns) -> list[_Turn] | None:
    """The turns that a field holds, where they are others than they stand there."""
    if not (isinstance(held, list) and held and all(isinstance(turn, dict) for turn in held)):
        return None
    found = _from_pairs(held)
    if said.is_silent:
        return list(found) if found is not value and is_turns(found) else None
    found = [_renamed(turn, said) for turn in found]
    return _ordered(found, said) if is_turns(found) else None


def _from_pairs(turns: Sequence[_Turn]) -> Sequence[_Turn]:
    """Turns of objects whose keys are roles and whose values are words; any others as they are."""
    if not all(turn and all(key.lower() in ROLES and isinstance(turn[key], str) for key in turn) for turn in turns):
        return turns
    return [{"role": role, "content": words} for turn in turns for role, words in turn.items()]


def _renamed(turn: Mapping[str, Any], said: Turns) -> _Turn:
    names = {said.role: "role", said.content: "content"}
    own = {names[name]: value for name, value in turn.items() if name in names}
    found = {**{name: value for name, value in turn.items() if name not in names}, **own}
    for key in ("role", "from", "speaker"):
        if isinstance(found.get(key), str) and found[key].lower() in said.known_roles:
            found[key] = said.known_roles[found[key].lower()]
    return found


def _ordered(turns: list[_Turn], said: Turns) -> list[_Turn]:
    """The turns in an order to learn from, as far as the recipe says what is to be done."""
    if said.same_role == "join":
        turns = _joined(turns)
    begins = 1 if _role(turns[0]) == "system" else 0
    if said.opening != "refuse" and len(turns) > begins and _role(turns[begins]) == "assistant":
        kept = [{**turns[begins], "weight": 0}] if said.opening == "keep" else []
        turns = [*turns[:begins], *kept, *turns[begins + 1 :]]
    while said.last_user == "drop" and len(turns) > 1 and _role(turns[-1]) == "user":
        turns = turns[:-1]
    return turns


def _joined(turns: Sequence[_Turn]) -> list[_Turn]:
    """Neighbours of one role as one turn, where both are words alone."""
    found: list[_Turn] = []
    for turn in turns:
        words = _words(turn)
        before = found[-1] if found and _role(found[-1]) == _role(turn) else None
        if before is not None and words is not None and _are_alike(before, turn, words):
            found[-1] = {**before, words: _JOINT.join((before[words], turn[words]))}
        else:
            found.append(turn)
    return found


def _are_alike(before: _Turn, turn: _Turn, words: str) -> bool:
    """Whether two turns of one role say the same of themselves, and nothing that joining their words would change."""
    rest = [{key: value for key, value in one.items() if key != words and value is not None} for one in (before, turn)]
    plain = all(isinstance(one.get(words), str) and parted(one[words])[0] is None for one in (before, turn))
    return plain and _words(before) == words and rest[0] == rest[1] and _role(turn) in ("system", "user", "assistant")


def _words(turn: _Turn) -> str | None:
    """The key of a turn's words, if it has words and neither calls nor thoughts."""
    key = next((key for key in ("content", "value", "text") if isinstance(turn.get(key), str)), None)
    return None if any(turn.get(name) for name in _MORE) else key


def _role(turn: _Turn) -> str | None:
    said = next((turn[key] for key in ("role", "from", "speaker") if isinstance(turn.get(key), str)), "")
    return ROLES.get(said.lower())
