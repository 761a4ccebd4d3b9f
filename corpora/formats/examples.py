"""Formats of examples to imitate and of plain text: Alpaca, ShareGPT, ChatML, prompt and completion, documents.

Each has a function that tells from a row's fields whether it is of the format, and by which of them, and one that
reads it. Field names are those of public data sets: Alpaca's, Dolly's (`context`, `response`), OpenOrca's
(`system_prompt`, `question`), MetaMathQA's (`query`), FLAN's (`inputs`, `targets`), UltraChat's (`data`), C4's and
FineWeb's (`text`), RedPajama's (`raw_content`). Answers that were judged are read by `judged` and `scored`.
"""

from typing import Any

from corpora.formats.conversations import (
    conversation,
    is_turn,
    is_turns,
    reply,
    row_thoughts,
    single,
    text_at,
    turns,
    with_row_thoughts,
    with_system,
)
from corpora.formats.format import Format, each
from corpora.formats.hermes import is_hermes
from corpora.formats.items import Conversation, Document, Item
from corpora.formats.prompts import TURNS, Fields, earlier, first, instruction, question, turns_field, with_earlier
from corpora.formats.tool_calls import tools_of
from corpora.formats.toolace import is_toolace
from corpora.formats.trees import is_message
from corpora.reading.row import RowError

_ALPACA_OUTPUTS = ("output", "response")
EXCHANGES = (
    ("prompt", "completion"),
    ("prompt", "response"),
    ("question", "answer"),
    ("question", "response"),
    ("question", "reply"),
    ("query", "response"),
    ("input", "output"),
    ("inputs", "targets"),
    ("problem", "solution"),
)
TEXTS = ("text", "raw_content", "content")


def alpaca_fields(fields: Fields) -> str | None:
    output = first(fields, _ALPACA_OUTPUTS)
    return (
        f"instruction, {output}{_and_thoughts(fields)}"
        if output and isinstance(fields.get("instruction"), str)
        else None
    )


def read_alpaca(fields: Fields) -> Item:
    answered = with_row_thoughts(fields, text_at(fields, first(fields, _ALPACA_OUTPUTS) or _ALPACA_OUTPUTS[0]))
    messages = [*earlier(fields), *single(instruction(fields), answered)]
    return Conversation(conversation(with_system(fields, messages)), tools_of(fields))


def sharegpt_fields(fields: Fields) -> str | None:
    name = turns_field(fields)
    found = name and not is_hermes(fields) and not is_toolace(fields)
    return f"{name}, a list of turns{_and_tools(fields)}" if found else None


def read_sharegpt(fields: Fields) -> Item:
    found = fields.get(turns_field(fields) or "conversations", fields.get("conversation"))
    return Conversation(conversation(with_system(fields, turns(found))), tools_of(fields))


def chatml_fields(fields: Fields) -> str | None:
    found = is_turns(fields.get("messages")) and not is_hermes(fields)
    return f"messages, a list of turns{_and_tools(fields)}" if found else None


def read_chatml(fields: Fields) -> Item:
    return Conversation(conversation(with_system(fields, turns(fields.get("messages")))), tools_of(fields))


def exchange(fields: Fields) -> tuple[str, str] | None:
    """The names of a prompt and its completion, each text, a turn or a list of turns."""
    for names in EXCHANGES:
        whole = all(_is_said(fields.get(name)) for name in names)
        if whole and (names[0] != "input" or "instruction" not in fields):
            return names
    return None


def _is_said(value: Any) -> bool:
    """Text, turns, or one turn."""
    return isinstance(value, str) or is_turns([value] if isinstance(value, dict) else value)


def no_text_in(fields: Fields) -> str | None:
    """The field of a prompt or its completion that holds a number or a truth, which may be read in several ways."""
    both = (names for names in EXCHANGES if all(fields.get(name) is not None for name in names))
    return next((name for names in both for name in names if isinstance(fields[name], int | float)), None)


def exchange_fields(fields: Fields) -> str | None:
    names = exchange(fields)
    return f"{', '.join(names)}{_and_thoughts(fields)}" if names else None


def read_exchange(fields: Fields) -> Item:
    held = exchange(fields)
    if held is None and (odd := no_text_in(fields)):
        raise RowError(f"field '{odd}' is not text: write numbers and truths in quotes")
    asked, answered = held or EXCHANGES[0]
    before = question(fields, asked)
    before = with_system(fields, with_earlier(fields, before))
    given = fields.get(answered)
    if isinstance(given, list | dict):
        said = reply(given, answered)
        if row_thoughts(fields) is not None:
            if len(said) > 1:
                raise RowError(f"thoughts beside several turns: in field '{answered}'")
            said = [{**said[0], "content": with_row_thoughts(fields, said[0]["content"])}]
    else:
        said = reply(with_row_thoughts(fields, text_at(fields, answered)), answered)
    return Conversation(conversation([*before, *said]), tools_of(fields))


def text_fields(fields: Fields) -> str | None:
    name = None if is_message(fields) else first(fields, TEXTS)
    return None if name is None or is_turn(fields) else name


def read_text(fields: Fields) -> Item:
    return Document(text_at(fields, first(fields, TEXTS) or TEXTS[0]).strip())


def _and_thoughts(fields: Fields) -> str:
    name = row_thoughts(fields)
    return "" if name is None else f", thoughts in {name}"


def _and_tools(fields: Fields) -> str:
    return ", and tools" if "tools" in fields or "functions" in fields else ""


FORMATS = (
    Format(
        "alpaca", "conversation", "instruction, output", alpaca_fields, each(read_alpaca), frozenset(("instruction",))
    ),
    Format(
        "sharegpt",
        "conversation",
        "conversations or conversation, a list of turns",
        sharegpt_fields,
        each(read_sharegpt),
        frozenset(TURNS),
    ),
    Format(
        "chatml",
        "conversation",
        "messages, a list of turns",
        chatml_fields,
        each(read_chatml),
        frozenset(("messages",)),
    ),
    Format(
        "prompt_completion",
        "conversation",
        "prompt, completion",
        exchange_fields,
        each(read_exchange),
        frozenset(answered for _, answered in EXCHANGES),
    ),
    Format("text", "document", "text", text_fields, each(read_text), frozenset(TEXTS)),
)
