"""Turns in the words of a source, into the ones that the formats know: by the recipe's `turns`, or by plain signs.

Without a word of the recipe, turns that are pairs of roles and words ({human, assistant}) are read as turns, and so
is JSON text of an object that holds messages. What else a source means by its names, or does about turns that stand
in no order to learn from, is for its recipe to say; nothing is guessed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from corpora.formats.conversations import MEDIA, ROLES, SYSTEMS, WRITTEN_CALLS, is_turns, value_or_none
from corpora.formats.judgements import JUDGES, is_empty
from corpora.formats.learning import MARKS
from corpora.formats.prompts import TURNS, prompt_field
from corpora.formats.tool_calls import FUNCTIONS, holds_any, tools_of
from corpora.formats.tool_text import python_in
from corpora.reading.json_row import NotJson, value_of
from corpora.reading.row import RowError
from recipes.sources import Source, Turns

_Turn = dict[str, Any]
_ANSWERS = ("chosen", "rejected", "chosen_messages", "rejected_messages")
_PROMPT, _ANSWER = _APART = ("prompt", "completion")
_OPENAI = "input"
"""Of OpenAI's preferences, an object with the messages of the prompt."""
_HELD = ("messages", *TURNS)
"""Keys of an object under which its turns are."""
_OF_TURNS = frozenset(("messages", *TURNS, *_ANSWERS))
"""Fields whose JSON text or objects are turns; anywhere else they are words, or none of a row's."""
_OF_ROWS = frozenset((*MARKS, *JUDGES, *MEDIA))
"""What is heard of a row alone."""
_AS_THEY_STAND = {"opening": "refuse", "last_user": "refuse"}
_PAIRED = {name: role for name, role in ROLES.items() if name != "model"}
"""Keys of objects that hold a question and its answer; `model` may name who answered."""
_FOLLOWING = ("system", "user", "assistant", "tool")
_OPENINGS = ("{", "[")
"""What JSON text of turns begins with."""
_JOINT = "\n\n"
_OF_SPELLINGS = frozenset(("role", "from", "speaker", "content", "value", "text"))
"""Keys of turns that are no pairs."""
_SAID_OF_TURNS = (*MARKS, "name", "tool_call_id")
_CALLS, _THOUGHTS = ("tool_calls", "function_call"), ("reasoning_content", "reasoning", "thinking")
"""Fields in which a turn holds more than its words."""


class _Known(list[_Turn]):
    """Turns that are in known words already, in an order to learn from."""


@dataclass(frozen=True)
class Spelling:
    """How one source spells its rows.

    said: about whole conversations, of_parts: about prompts and answers; None if the recipe says nothing. of_turns:
    fields whose JSON text or objects are turns. reached: fields that the paths of `columns` lead through. roles: by key
    of a pair.
    """

    said: Turns | None
    of_parts: Turns | None
    columns: dict[str, str]
    of_turns: frozenset[str]
    reached: frozenset[str]
    roles: dict[str, str]

    @classmethod
    def of(cls, source: Source) -> "Spelling":
        turns = None if source.turns.is_silent else source.turns
        columns = source.columns.model_dump(exclude_none=True, exclude={"category", "loss_weight"})
        named = {path for name, path in columns.items() if name in ("messages", "chosen", "rejected")}
        return cls(
            turns,
            turns and turns.model_copy(update=_AS_THEY_STAND),
            columns,
            _OF_TURNS | named,
            frozenset(path.partition(".")[0] for path in columns.values() if "." in path),
            {**_PAIRED, **source.turns.known_roles},
        )

    def named(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The fields with those that `columns` names beside a format that the rows are to tell. Raises RowError."""
        found = {
            name: value for name, path in self.columns.items() if (value := value_or_none(fields, path)) is not None
        }
        with_input(found, self.columns)
        return self.known({**fields, **found}) if found else fields

    def known(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The fields of a row, with its turns as the recipe says they are meant, and out of objects that hold them.

        Raises RowError if such an object says what has to stand beside it, or otherwise than the row or another one.
        """
        judged = not fields.keys().isdisjoint((*_ANSWERS, self.columns.get("chosen", "")))
        changed: dict[str, Any] = {}
        for name, value in fields.items():
            if name in self.reached or not (
                isinstance(value, list) or name in self.of_turns or (isinstance(value, dict) and name in _APART)
            ):
                continue
            held = _texts_opened(value) if name in self.of_turns else value
            held = held if isinstance(held, list) else _opened(name, value)
            if held is None:
                continue
            own = next((held[key] for key in _HELD if key in held), held) if isinstance(held, dict) else held
            whole = name in self.of_turns and (prompt_field(fields) is None if name in _ANSWERS else not judged)
            found = self._turns(own, self.said if whole else self.of_parts)
            if found is not None and found is not value:
                changed[name] = found
                changed |= (
                    _beside(name, held, {**fields, **changed}) if isinstance(held, dict) and own is not held else {}
                )
        if isinstance(given := fields.get(_OPENAI), dict):
            found = self._turns(given.get("messages"), self.of_parts)
            changed |= {_OPENAI: {**given, "messages": found}} if found else {}
        if isinstance(asked := fields.get(_PROMPT), str) and asked.lstrip()[:1] in _OPENINGS:
            changed |= self._prompt_and_answer(fields, any(name in changed for name in _ANSWERS))
        return {**fields, **changed} if changed else fields

    def _prompt_and_answer(self, fields: Mapping[str, Any], judged: bool) -> dict[str, Any]:
        """Prompt and completion that are both JSON text of turns, or the prompt of answers that are (judged); a single
        one may be words that look so."""
        given = {name: fields.get(name) for name in (_PROMPT, _ANSWER)}
        found = {name: self._turns(_opened(name, value), self.of_parts) for name, value in given.items()}
        asked, answer = found.values()
        if asked and _role(asked[-1]) == "user" and (judged or (answer and all(map(_answers, answer)))):
            return {name: turns for name, turns in found.items() if turns}
        return {}

    def _turns(self, held: Any, said: Turns | None) -> list[_Turn] | None:
        """The turns that a field holds, in known words; the list itself where nothing is to be changed."""
        if isinstance(held, _Known):
            return held
        held = _from_lists(held) if isinstance(held, dict) else held
        if not (isinstance(held, list) and held and all(isinstance(turn, dict) for turn in held)):
            return None
        found = self._from_pairs(held)
        if said is None:
            return found if is_turns(found) else None
        roles = said.known_roles
        found = [_renamed(turn, said, roles) for turn in found]
        return _Known(_ordered(found, said)) if is_turns(found) else None

    def _from_pairs(self, turns: list[_Turn]) -> list[_Turn]:
        """Turns of objects whose keys are roles and whose values are words; any others as they are. Of one object the
        question comes before its answer, and what else stands beside these two is of the answer."""
        if self.roles.keys().isdisjoint(map(str.lower, turns[0])):
            return turns
        found: list[_Turn] = []
        for turn in turns:
            said = {key: self.roles[key.lower()] for key in turn if key.lower() in self.roles and turn[key] is not None}
            beside = {key: value for key, value in turn.items() if key.lower() not in self.roles}
            is_pair = {"user", "assistant"} <= {*said.values()} and _OF_SPELLINGS.isdisjoint(beside)
            if not said or (beside and not is_pair) or not all(isinstance(turn[key], str) for key in said):
                return turns
            for key in sorted(said, key=lambda key: _FOLLOWING.index(said[key])):
                more = beside if said[key] == "assistant" else {}
                found.append({**more, "role": key, "content": turn[key]})
        return found


def with_input(named: dict[str, Any], columns: Mapping[str, str]) -> None:
    """Put what a prompt is about behind it. named: by the names of `columns`. Raises RowError."""
    about, prompt = named.pop("input", None), named.get("prompt")
    if is_empty(about):
        return
    if not isinstance(prompt, str) or not isinstance(about, str):
        raise RowError(f"field '{columns['input']}' is not text, or what it is beside is not")
    named["prompt"] = f"{prompt}\n{about}"


def _answers(turn: _Turn) -> bool:
    return _role(turn) in ("assistant", "tool")


def _opened(name: str, value: Any) -> Any:
    """What a field of turns holds: an object, or JSON text of one or of turns. Raises RowError for JSON that lies."""
    if not isinstance(value, str):
        return value if isinstance(value, dict) else None
    if value.lstrip()[:1] not in _OPENINGS:
        return None
    try:
        return value_of(value)
    except NotJson:
        return None if name in (*_ANSWERS, _PROMPT, _ANSWER) else python_in(value)
    except RowError as error:
        if name in (*_ANSWERS, _PROMPT, _ANSWER):  # whose words may be anything
            return None
        raise RowError(f"{error}: field '{name}'") from None


def _texts_opened(value: Any) -> Any:
    """Turns out of a list of JSON texts of turns; any other value as it is."""
    if not (isinstance(value, list) and value and isinstance(value[0], str)):
        return value
    if not all(isinstance(turn, str) and turn.startswith("{") for turn in value):
        return value
    opened = [_opened(_PROMPT, turn) for turn in value]
    return opened if is_turns(opened) else value


def _from_lists(held: Mapping[str, Any]) -> list[_Turn] | None:
    """Turns of an object that has a list for each of their keys, as `datasets` keeps a sequence of objects."""
    columns = list(held.values())
    if len(columns) < 2 or not all(isinstance(one, list) and len(one) == len(columns[0]) for one in columns):
        return None
    return [dict(zip(held, values, strict=True)) for values in zip(*columns, strict=True)]


def _beside(name: str, held: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """What an object says beside its turns that is said of a row. Raises RowError."""
    for key in held.keys() & _OF_ROWS:
        if held[key] is not None and held[key] != row.get(key):
            raise RowError(f"'{key}' inside field '{name}' is not heard there: write it beside")
    found = {key: held[key] for key in (*SYSTEMS, *FUNCTIONS) if held.get(key)}
    for key, value in found.items():
        if row.get(key) and _as_said(key, row[key]) != _as_said(key, value):
            raise RowError(f"'{key}' in field '{name}' is another one than beside it")
    return found


def beside_messages(outer: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """The same of the object at a path, which leads through it to messages. Raises RowError."""
    held = value_or_none(row, outer)
    return _beside(outer, held, row) if isinstance(held, dict) else {}


def _as_said(key: str, value: Any) -> Any:
    """Functions or a system prompt in one form, to be compared."""
    if key in FUNCTIONS:
        return tools_of({key: value})
    return value.strip() if isinstance(value, str) else value


def _renamed(turn: Mapping[str, Any], said: Turns, roles: Mapping[str, str]) -> _Turn:
    """roles: by the source's words, numbers and truths in JSON's writing, in small letters."""
    names = {said.role: "role", said.content: "content"}
    own = {names[name]: value for name, value in turn.items() if name in names}
    found = {**{name: value for name, value in turn.items() if name not in names}, **own}
    for key in ("role", "from", "speaker"):
        if isinstance(word := found.get(key), str | int | float):
            word = f"{word:g}" if isinstance(word, float) else str(word)
            found[key] = roles.get(word.strip().lower(), word)
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
    rest = [{key: one[key] for key in _SAID_OF_TURNS if one.get(key) is not None} for one in (before, turn)]
    plain = all(isinstance(one.get(words), str) and "think>" not in one[words] for one in (before, turn))
    return plain and _words(before) == words and rest[0] == rest[1] and _role(turn) in ("system", "user", "assistant")


def _words(turn: _Turn) -> str | None:
    """The key of a turn's words, if it has words and neither calls nor thoughts, nor are they a call."""
    if any(str(turn.get(key, "")).lower() in WRITTEN_CALLS for key in ("role", "from", "speaker")):
        return None
    key = next((key for key in ("content", "value", "text") if isinstance(turn.get(key), str)), None)
    more = any(turn.get(name) for name in _THOUGHTS) or any(holds_any(turn.get(name)) for name in _CALLS)
    return None if more else key


def _role(turn: _Turn) -> str | None:
    said = next((turn[key] for key in ("role", "from", "speaker") if isinstance(turn.get(key), str)), "")
    return ROLES.get(said.strip().lower())
