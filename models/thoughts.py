"""What an assistant thought before it spoke, as it stands in a message: `<think>`, the thoughts, `</think>`, the words.

Corpora keep thoughts in this one form, whatever field they were read from, and a chat template writes them as its
model knows them. Answers of a model that thinks are parted by the marks of its template, and only the words are judged.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from models.messages import Message

_OPEN, _CLOSE = "<think>", "</think>"
_OPENED = re.compile(rf"\s*{_OPEN}")


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

    def parted(self, answer: str, *, opened: bool = False) -> tuple[str, str]:
        """What was thought, and what is said behind it; nothing is said if the thoughts never ended.

        answer: with its control tokens. opened: whether the prompt has opened thoughts.
        """
        thoughts, closed, words = answer.partition(self.closing)
        thoughts, begun = thoughts.lstrip(), opened
        if self.opening and thoughts.startswith(self.opening):
            thoughts, begun = thoughts.removeprefix(self.opening), True
        if closed or begun:
            return thoughts.strip(), words.lstrip("\n")
        return "", answer.removeprefix(self.lead)


WRITTEN_OUT = Marks(_OPEN, _CLOSE, "")
"""Of models that write thoughts as corpora keep them."""
