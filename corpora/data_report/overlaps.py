"""Evidence of contamination as a person reads it: both texts, cut to what matters, with what they share marked.

The most doubtful come first. Of sensitive text only ids, spans and shares are here, for the evidence holds no more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from corpora.contamination.evidence import EVIDENCE
from corpora.tables.tables import rows_of

_OF_A_SOURCE = 6
_LOOKED_AT = 10_000
_AROUND = 240
"""Characters kept on each side of a shared stretch."""

Marked = list[tuple[str, bool]]


@dataclass(frozen=True)
class Overlap:
    """One match. `row`, `item`: texts in pieces, marked where shared; None where they are not to be shown."""

    source: str
    place: str
    id: str
    task: str
    number: int
    kind: str
    coverage: float
    reason: str | None
    row: Marked | None
    item: Marked | None


def overlaps_of(corpora: Mapping[str, Path]) -> list[Overlap]:
    """A few matches of each corpus (clean folder by source)."""
    return [overlap for folder in corpora.values() for overlap in _of_corpus(folder)]


def marked(text: str, spans: Sequence[Mapping[str, int]]) -> Marked:
    """The text in pieces, marked inside the spans; long pieces between them are cut."""
    pieces: Marked = []
    at = 0
    for span in spans:
        pieces.append((_cut(text[at : span["start"]], head=at > 0, tail=True), False))
        pieces.append((text[span["start"] : span["end"]], True))
        at = span["end"]
    pieces.append((_cut(text[at:], head=True, tail=False), False))
    return [(piece, shared) for piece, shared in pieces if piece]


def _cut(text: str, *, head: bool, tail: bool) -> str:
    """The beginning (head) and the end (tail) of a piece, when it is longer than both."""
    first, last = (_AROUND if head else 0), (_AROUND if tail else 0)
    if len(text) <= first + last:
        return text
    return f"{text[:first]} … {text[len(text) - last :]}" if last else f"{text[:first]} …"


def _of_corpus(folder: Path) -> list[Overlap]:
    path = folder / EVIDENCE
    if not path.is_file():
        return []
    rows = sorted(islice(rows_of(path), _LOOKED_AT), key=lambda row: (row["coverage"], row["id"]))
    return [_overlap(row) for row in rows[:_OF_A_SOURCE]]


def _overlap(row: Mapping[str, Any]) -> Overlap:
    shown = row["row_text"] is not None and row["item_text"] is not None
    return Overlap(
        source=row["source"],
        place=f"{row['origin']['file']}:{row['origin']['line']}",
        id=row["id"],
        task=row["task"],
        number=row["item"],
        kind=row["kind"],
        coverage=row["coverage"],
        reason=row["reason"],
        row=marked(row["row_text"], row["row_spans"]) if shown else None,
        item=marked(row["item_text"], row["item_spans"]) if shown else None,
    )
