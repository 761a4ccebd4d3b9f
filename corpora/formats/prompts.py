"""What was asked: the prompt of a row as turns, in whichever of the fields that public data sets keep it."""

import re
from typing import Any

from corpora.formats.conversations import (
    ROLES,
    Message,
    is_turns,
    reply,
    single,
    text_at,
    turns,
    with_system,
)
from corpora.formats.judgements import is_empty
from corpora.formats.tool_calls import holds_any
from corpora.formats.tool_text import value_in
from corpora.reading.json_row import NotJson, value_of
from corpora.reading.row import RowError

Fields = dict[str, Any]

_ASKED = ("prompt", "instruction", "question", "query")
_PROMPTS = ("prompt", "instruction", "question", "query", "context", "history", "inputs", "input")
TURNS = ("conversations", "conversation", "dialog", "dialogue", "data")
_ALPACA_INPUTS = ("input", "context")
_DIALOGUE = re.compile(r"(?:\A|\n\n)(Human|Assistant):")


def first(fields: Fields, names: tuple[str, ...], kinds: Any = str) -> str | None:
    """The first of these fields that holds one of these kinds of value, if possible one with words or turns in it."""
    found = [name for name in names if isinstance(fields.get(name), kinds)]
    held = (name for name in found if not is_empty(fields[name]) and fields[name] != [])
    return next(held, found[0] if found else None)


def dialogue(text: str, asked: bool, bare: bool = False) -> list[Message] | None:
    """The turns of a whole dialogue in one text, as HH-RLHF keeps it; None if it is none.

    asked: whether the assistant is left to go on, which then has no turn; else the text begins with an empty line, or,
    where that is left out (bare), holds an answer.
    """
    begins = text.startswith("Human:") and (asked or (bare and "\n\nAssistant:" in text))
    if not (begins or text.startswith("\n\nHuman:")):
        return None
    _, *pieces = _DIALOGUE.split(text)
    said = list(zip(pieces[::2], pieces[1::2], strict=True))
    if asked and (said[-1][0] != "Assistant" or said.pop()[1].strip()):
        return None
    roles = {"Human": "user", "Assistant": "assistant"}
    return [{"role": roles[speaker], "content": words.strip()} for speaker, words in said]


def turns_field(fields: Fields) -> str | None:
    """The field in which turns are kept as ShareGPT files do, if there is one; bare words count from two on."""
    for name in TURNS:
        value = fields.get(name)
        if is_turns(value) or (isinstance(value, list) and len(value) > 1 and all(isinstance(t, str) for t in value)):
            return name
    return None


def prompt_field(fields: Fields) -> str | None:
    asked = first(fields, _ASKED, str | list | dict)
    found = asked or first(fields, _PROMPTS, str | list | dict) or turns_field(fields)
    return "messages" if found is None and is_turns(fields.get("messages")) else found


def prompt_of(fields: Fields) -> list[Message]:
    """The prompt as turns, after a system prompt and a history kept beside it; none if no field has one.

    Raises RowError.
    """
    name = prompt_field(fields)
    if name is None:
        return with_system(fields, [])
    asked = question(fields, name)
    return with_system(fields, asked if name == "history" else with_earlier(fields, asked))


def question(fields: Fields, name: str) -> list[Message]:
    """The turns of one field, from text, turns, one turn, or an object with a text. Raises RowError."""
    value = fields.get(name)
    if isinstance(value, list):
        return turns(value)
    if isinstance(value, dict):
        if is_turns([value]):
            return turns([value])
        name, fields = first(value, ("text", "full_text", "content")) or "text", value
    text = instruction(fields) if name == "instruction" else text_at(fields, name)
    asked = [{"role": "user", "content": unwrapped(text) if is_arena(fields) else text}]
    return asked if name == "instruction" else dialogue(text, asked=True) or asked


def instruction(fields: Fields) -> str:
    """The instruction and what it is about, on lines of their own. Raises RowError."""
    asked = text_at(fields, "instruction")
    name = next((name for name in _ALPACA_INPUTS if fields.get(name)), None)
    if name is None:
        return asked
    given = fields[name]
    if not isinstance(given, str):
        raise RowError(f"field '{name}' is not text")
    return f"{asked}\n{given}" if given.strip() else asked


def with_earlier(fields: Fields, asked: list[Message]) -> list[Message]:
    """The turns of a prompt with those that the row keeps apart as earlier ones, behind its system prompt."""
    begins = 1 if asked and ROLES.get(asked[0]["role"].lower()) == "system" else 0
    return [*asked[:begins], *earlier(fields), *asked[begins:]]


def earlier(fields: Fields) -> list[Message]:
    """Turns before the question, kept as LLaMA-Factory does: `history`, a list of question and answer, or turns, also
    as text of a table without lists."""
    found: list[Message] = []
    history = fields.get("history") or []
    if isinstance(history, str):
        history = value_in(history, "field 'history'") if holds_any(history) else []
    if is_turns(history):
        return turns(history)
    for turn in history if isinstance(history, list) else [history]:
        if not (isinstance(turn, list) and len(turn) == 2 and all(isinstance(text, str) for text in turn)):
            raise RowError("field 'history' is neither a list of question and answer nor turns")
        found += single(*turn)
    return found


def is_arena(fields: Fields) -> bool:
    """Whether the row is of Chatbot Arena's tables, which keep prompts and answers in JSON lists."""
    return "winner_model_a" in fields


def answer_to(before: list[Message], value: Any, field: str, listed: bool = False) -> list[Message]:
    """The whole conversation of an answer: it may hold the prompt itself, or follow `before`. Raises RowError.

    listed: it is in a JSON list, as `is_arena` says.
    """
    given = reply(value, field)
    if len(given) == 1 and listed:
        given = [{**given[0], "content": unwrapped(given[0]["content"])}]
    if len(given) == 1:
        return [*before, *given]
    if not before:
        return given
    system, own = ([message for message in turns if _role(message) == "system"] for turns in (before, given))
    spoken, said = ([message for message in turns if _role(message) != "system"] for turns in (before, given))
    asked, repeated = list(map(_turn, spoken)), list(map(_turn, said[:-1]))
    starts = range(len(repeated) - len(asked) + 1)
    if any(repeated[start : start + len(asked)] == asked for start in starts):
        whole = said
    elif repeated and asked[-len(repeated) :] == repeated:
        whole = [*spoken[: len(spoken) - len(repeated)], *said]
    elif not own and _role(given[0]) == "assistant":
        whole = [*spoken, *said]  # a call, its result, and what is said of it
    else:
        raise RowError(f"another prompt than the one in field '{field}'")
    if len({message["content"].strip() for message in (*system, *own)}) > 1:
        raise RowError(f"two system prompts that differ: in field '{field}' and before it")
    return [*(system or own)[:1], *whole]


def _role(message: Message) -> str | None:
    return ROLES.get(message["role"].lower())


def _turn(message: Message) -> tuple[str | None, str]:
    return _role(message), message["content"].strip()


def unwrapped(words: str) -> str:
    """Words without the JSON list of one that Chatbot Arena's tables keep them in. Raises RowError for several."""
    if not (words.startswith(('["', "[null")) and words.endswith(('"]', "null]"))):
        return words
    try:
        listed = value_of(words)
    except NotJson:
        return words
    if len(listed) > 1:
        raise RowError("several turns in one field, whose answers differ")
    if listed[0] is None:
        raise RowError("null in the place of words")
    return str(listed[0])
