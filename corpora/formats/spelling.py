"""Turns in the words of a source, into the ones that the formats know: by the recipe's `turns`, or by plain signs.

Without a word of the recipe, turns that are pairs of roles and words ({human, assistant}) are read as turns, and so
is JSON text of an object that holds messages. What else a source means by its names, or does about turns that stand
in no order to learn from, is for its recipe to say; nothing is guessed.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from corpora.formats.conversations import ROLES, is_turns, written_out
from recipes.sources import Source, Turns

_Turn = dict[str, Any]
_JOINT = "\n\n"


def in_known_words(source: Source, fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a row, with its turns as the recipe's `turns` says that they are meant."""
    changed = {name: found for name, value in fields.items() if (found := _turns(value, source.turns)) is not None}
    return {**fields, **changed} if changed else fields


def _turns(value: Any, said: Turns) -> list[_Turn] | None:
    """The turns that a field holds, where they are others than they stand there."""
    if not isinstance(value, list | str) or not value:
        return None
    found = _messages_in(value) if isinstance(value, str) else value
    if not (isinstance(found, list) and found and all(isinstance(turn, dict) for turn in found)):
        return None
    found = _from_pairs(found)
    if said.is_silent:
        return list(found) if found is not value and is_turns(found) else None
    found = [_renamed(turn, said) for turn in found]
    return _ordered(found, said) if is_turns(found) else None


def _messages_in(text: str) -> Any:
    """The turns in JSON text, by themselves or in an object's `messages`."""
    if text.lstrip().startswith("{"):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            return None
        return found.get("messages") if isinstance(found, dict) else None
    found = written_out(text)
    return None if found is text else found


def _from_pairs(turns: Sequence[_Turn]) -> Sequence[_Turn]:
    """Turns of objects whose keys are roles and whose values are words; any others as they are."""
    if not all(turn and all(key.lower() in ROLES and isinstance(turn[key], str) for key in turn) for turn in turns):
        return turns
    return [{"role": role, "content": words} for turn in turns for role, words in turn.items()]


def _renamed(turn: Mapping[str, Any], said: Turns) -> _Turn:
    names = {said.role: "role", said.content: "content"}
    found = {names.get(name, name): value for name, value in turn.items()}
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
        if (
            before is not None
            and words is not None
            and (key := _words(before)) is not None
            and set(before) == set(turn)
        ):
            found[-1] = {**before, key: _JOINT.join((before[key], turn[words]))}
        else:
            found.append(turn)
    return found


def _words(turn: _Turn) -> str | None:
    """The key of a turn's words, if it has words and nothing else that is said."""
    key = next((key for key in ("content", "value", "text") if isinstance(turn.get(key), str)), None)
    return None if turn.get("tool_calls") else key


def _role(turn: _Turn) -> str | None:
    said = next((turn[key] for key in ("role", "from", "speaker") if isinstance(turn.get(key), str)), "")
    return ROLES.get(said.lower())
