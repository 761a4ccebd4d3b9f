"""The words of one turn, in one text or in typed parts: what was said, what was thought before, which calls it makes.

Known are OpenAI's parts of text, and those of LLaMA-Factory's version 1, which keeps `reasoning` and `tool_call` beside
`text`. Thoughts become words of the assistant between `<think>` and `</think>`, as open reasoning models write them.
"""

from typing import Any, NamedTuple

from corpora.reading.row import RowError

_TEXTS = ("text", "input_text", "output_text")


class Parts(NamedTuple):
    """words: None if there are none. calls: as the row has them, one each."""

    words: str | None
    reasoning: str
    calls: list[Any]


def parts_of(content: Any, index: int) -> Parts:
    """index: of the turn, for the message. Raises RowError if there is anything that is not text, or no such part."""
    if content is None or isinstance(content, str):
        return Parts(content, "", [])
    if not isinstance(content, list):
        raise RowError(f"not text: the words of turn {index}")
    words: list[str] = []
    reasoning: list[str] = []
    calls: list[Any] = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        value = part.get("text", part.get("value")) if kind is not None else None
        if kind == "tool_call" and value is not None:
            calls.append(value)
        elif isinstance(value, str) and kind in _TEXTS:
            words.append(value)
        elif isinstance(value, str) and kind == "reasoning":
            reasoning.append(value)
        else:
            raise RowError(f"not text: the words of turn {index}")
    return Parts("".join(words) if words or not calls else None, "".join(reasoning), calls)


def thinking(reasoning: Any, words: str) -> str:
    """The words after the thoughts, if there are any."""
    if not isinstance(reasoning, str) or not reasoning.strip():
        return words
    return f"<think>\n{reasoning.strip()}\n</think>\n\n{words}".rstrip()
