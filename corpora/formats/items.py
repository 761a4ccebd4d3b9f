"""What a row means, whatever format it was kept in: five kinds of items.

Their fields are the columns of a clean corpus (`corpora.tables.tables`), so that an item's `vars` are a row's content.
"""

from dataclasses import dataclass
from typing import TypedDict

from models.messages import Message


class Answer(TypedDict):
    """An answer among others; a higher score is a better answer."""

    messages: list[Message]
    score: float


@dataclass(frozen=True)
class Conversation:
    """Messages in order, ending with the assistant's. tools: JSON list of the functions' schemas, if there are any."""

    messages: list[Message]
    tools: str | None = None


@dataclass(frozen=True)
class Document:
    """Plain text."""

    text: str


@dataclass(frozen=True)
class Preference:
    """A prompt, and two answers of one assistant message each. tools: as a conversation's, of this and what follows."""

    prompt: list[Message]
    chosen: list[Message]
    rejected: list[Message]
    tools: str | None = None


@dataclass(frozen=True)
class Unpaired:
    """A prompt, and one answer that was found good or bad (KTO, Ethayarajh et al. 2024). annotator: by whom, if the
    row says so."""

    prompt: list[Message]
    completion: list[Message]
    label: bool
    tools: str | None = None
    annotator: str | None = None


@dataclass(frozen=True)
class Ranking:
    """A prompt and answers with scores, best first. Scores compare within the source, not across sources.

    annotator: who judged, if the row says so.
    """

    prompt: list[Message]
    answers: list[Answer]
    tools: str | None = None
    annotator: str | None = None


Item = Conversation | Document | Preference | Unpaired | Ranking
