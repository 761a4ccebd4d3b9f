"""What an assistant thought before it spoke, as it stands in a message: `<think>`, the thoughts, `</think>`, the words.

Corpora keep thoughts in this one form, whatever field they were read from, and a chat template writes them as its
model knows them. Answers of a model that thinks are parted by the marks of its template, and only the words are judged.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from models.messages import Message

_OPEN, _CLOSE = "<think>", "</think>"
_SHORTEST_HEAD = 2
"""Characters of a cut announcement; a shorter answer says what it is."""
_OPENED = re.compile(rf"\s*{_OPEN}")
_LINE_OPENS = re.compile(rf"^[^\S\n]*{_OPEN}", re.MULTILINE)
_LINE_CLOSES = re.compile(rf"^[^\S\n]*{_CLOSE}[^\S\n]*$", re.MULTILINE)


def parted(content: str) -> tuple[str | None, str]:
    """The thoughts, None if there are none, and the words behind them."""
    opened = _OPENED.match(content)
    if opened is None:
        return None, content
    thoughts, closed, words = content[opened.end() :].partition(_CLOSE)
    return (thoughts.strip(), words.lstrip("\n")) if closed else (None, content)


def joined(thoughts: str, words: str) -> str:
    """The content of a message with thoughts, as open reasoning models write it."""
    return f"{_OPEN}\n{thoughts.strip()}\n{_CLOSE}\n\n{words}".rstrip()


def gone_on(content: str) -> bool:
    """Whether a content begins with thoughts that its prompt had opened: a line of their end, and no beginning."""
    closed = _LINE_CLOSES.search(content)
    return closed is not None and _OPEN not in content[: closed.start()]


def read(content: str) -> str:
    """An answer as its source has it, with its thoughts, if it has any, as corpora keep them.

    Raises ValueError where it cannot be told what was thought and what was said.
    """
    if "think>" not in content:
        return content
    if gone_on(content):
        content = f"{_OPEN}\n{content.lstrip()}"
    thoughts, words = parted(content)
    if thoughts is None and _OPENED.match(content):
        raise ValueError("thoughts that never end")
    opened = _LINE_OPENS.search(words)
    if (opened and _CLOSE in words[opened.end() :]) or (thoughts is not None and (opened or gone_on(words))):
        raise ValueError("thoughts between words")
    if _CLOSE in words.partition(_OPEN)[0]:
        raise ValueError(f"{_CLOSE} without {_OPEN}, and not on a line of its own")
    return content if thoughts is None else joined(thoughts, words) if thoughts else content


def dropped(messages: Sequence[Message]) -> list[Message]:
    """The messages without what the assistant thought."""
    return [{**m, "content": parted(m["content"])[1]} if m["role"] == "assistant" else m for m in messages]


def opens_thoughts(prompt: str) -> bool:
    """Whether a prompt leaves it to the model to go on with thoughts."""
    return prompt.rstrip().endswith(_OPEN)


def going_on(prompt: str, thoughts: str, written: str) -> str | None:
    """What a model writes behind a prompt that opens thoughts: these, their end, and its words as a template has them.

    written: the same conversation with the words as its last answer. None if that does not begin as the prompt does.
    """
    stem = prompt.rstrip().removesuffix(_OPEN)
    return f"{prompt}{thoughts}\n{_CLOSE}\n\n{written[len(stem) :]}" if written.startswith(stem) else None


class Marks(NamedTuple):
    """What a model writes before its thoughts, between them and its words, and before words without thoughts.

    opening: nothing if the prompt opens the thoughts.
    """

    opening: str
    closing: str
    lead: str

    def opened_by(self, prompt: str) -> bool:
        """Whether a prompt leaves it to the model to go on with thoughts."""
        return opens_thoughts(prompt) or bool(self.opening and prompt.rstrip().endswith(self.opening))

    def parted(self, answer: str, *, opened: bool = False) -> tuple[str, str]:
        """What was thought, and what is said behind it: nothing if the thoughts, or what announces them, never ended.

        answer: with its control tokens. opened: whether the prompt has opened thoughts; without that too, what stands
        before a line that ends them are thoughts.
        """
        opened = opened or (self.closing == _CLOSE and gone_on(answer))
        begun = answer.lstrip()
        opening = next((mark for mark in self._openings if begun.startswith(mark)), None)
        if not opened and opening is None:
            heads = (mark.strip() for mark in (*self._openings, self.lead))
            cut = len(answer) >= _SHORTEST_HEAD and any(
                "" != begun != head and head.startswith(begun) for head in heads
            )
            return "", "" if cut else answer.removeprefix(self.lead)
        thoughts, _, words = begun.removeprefix(opening or "").partition(self.closing)
        return thoughts.strip(), words.lstrip("\n")

    @property
    def _openings(self) -> list[str]:
        own = [self.opening] if self.opening else []
        return [*own, _OPEN] if self.closing == _CLOSE and self.opening != _OPEN else own


WRITTEN_OUT = Marks(_OPEN, _CLOSE, "")
"""Of models that write thoughts as corpora keep them."""
