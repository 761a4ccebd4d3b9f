"""The words of a row: what makes two rows the same, and which of them a step looks at or changes."""

import dataclasses
import json
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from corpora.formats.formats import Conversation, Document, Item, Ranking
from corpora.words.compared import MOST_OF_A_VOTE
from lineage.hashing import text_digest
from recipes.cleaning import Part

_OF_EVENTS = ("rated", "votes")
_UNSAID = ("tools", "annotator")
"""Fields that change nothing where they are null, and whose texts are not words of the row."""
_ANSWERS = ("chosen", "completion", "answers")
_CANONICAL = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode


def content_id(item: Item) -> str:
    """sha256 of an item's words, Unicode-composed and with white space folded but for the indentation of lines, and of
    what it says of learning them: equal for exact repeats.

    Folded text holds no ASCII separators, because these count as white space; so they can stand between turns, which
    is quicker than JSON.
    """
    if isinstance(item, Document):
        return text_digest(_fold(item.text))
    if isinstance(item, Conversation) and not item.tools and not any(map(_calls, item.messages)):
        return text_digest("\x1e".join(map(_plain_turn, item.messages)))
    fields = vars(item).items()
    return text_digest(
        _CANONICAL([_folded(value) for name, value in fields if name not in _UNSAID or value is not None])
    )


def row_id(item: Item, format_: str, file: str, line: int) -> str:
    """What a clean row is known by: its words; of a vote or a rating, which is an event, its place as well, for others
    may have said the same."""
    found = content_id(item)
    if format_ in _OF_EVENTS and isinstance(item, Ranking) and len(item.answers) <= MOST_OF_A_VOTE:
        return text_digest(f"{found}@{file}:{line}")
    return found


def words(item: Item, part: Part) -> str:
    """The text of a part of a row, its messages a line each. A document is prompt and answer at once."""
    if isinstance(item, Document):
        return item.text
    if isinstance(item, Conversation):
        chosen = {"row": (True, False), "prompt": (False,), "answer": (True,)}[part]
        return "\n".join(m["content"] for m in item.messages if (m["role"] == "assistant") in chosen)
    names = {"row": tuple(vars(item)), "prompt": ("prompt",), "answer": _ANSWERS}[part]
    return "\n".join(text for name in names for text in _contents(getattr(item, name, None)))


def rewritten(item: Item, change: Callable[[str], str]) -> Item:
    """The item with `change` made to every text in it, also to those inside tool calls."""
    fields: dict[str, Any] = {
        name: _rewritten(value, change) for name, value in vars(item).items() if name not in _UNSAID
    }
    return dataclasses.replace(item, **fields)


def _calls(message: Mapping[str, Any]) -> bool:
    """Whether a message calls a function or brings what one gave."""
    return message.get("tool_calls") is not None or message.get("name") is not None


def _plain_turn(message: Mapping[str, Any]) -> str:
    said, weight = f"{message['role']}\x1f{_fold(message['content'])}", message.get("weight")
    return said if weight is None else f"{said}\x1f{weight}"


def _turn(message: Mapping[str, Any]) -> list[Any]:
    turn = [message["role"], _fold(message["content"])]
    turn += [message.get("tool_calls"), message.get("name")] if _calls(message) else []
    weight = message.get("weight")
    return turn if weight is None else [*turn, {"weight": weight}]


def _fold(text: str) -> str:
    """Words with single blanks; of lines behind the first that are indented, which code is told apart by, how far."""
    composed = text if text.isascii() else unicodedata.normalize("NFC", text)
    folded = " ".join(composed.split())
    if "\n" not in text or ("\n " not in text and "\n\t" not in text):
        return folded
    lines = [line for line in text.rstrip().split("\n")[1:] if line.strip()]
    return "\x1c".join((folded, *(line[: len(line) - len(line.lstrip())] for line in lines)))


def _folded(value: Any) -> Any:
    if isinstance(value, dict) and "role" in value:
        return _turn(value)
    if isinstance(value, dict):
        return {key: _folded(inner) for key, inner in value.items()}
    return [_folded(inner) for inner in value] if isinstance(value, list) else value


def _contents(value: Any) -> Iterator[str]:
    """Words of the messages in a value, however deep they lie."""
    if isinstance(value, dict) and "role" in value:
        yield value["content"]
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _contents(inner)


def _rewritten(value: Any, change: Callable[[str], str]) -> Any:
    """Messages, lists of them and plain text; roles, labels and scores stay."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_rewritten(inner, change) for inner in value]
    if not isinstance(value, dict):
        return value
    if "role" not in value:
        return {key: _rewritten(inner, change) for key, inner in value.items()}
    calls = value.get("tool_calls")
    inside = {} if calls is None else {"tool_calls": _rewritten_json(calls, change)}
    return {**value, "content": change(value["content"]), **inside}


def _rewritten_json(text: str, change: Callable[[str], str]) -> str:
    def inner(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: inner(kept) for key, kept in value.items()}
        if isinstance(value, list):
            return [inner(kept) for kept in value]
        return change(value) if isinstance(value, str) else value

    return json.dumps(inner(json.loads(text)), ensure_ascii=False)
