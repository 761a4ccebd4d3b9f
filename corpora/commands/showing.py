"""Tables and rows on a terminal. What the model learns is coloured there, and stands in ⟦brackets⟧ elsewhere."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from corpora.data_report.samples import Piece, Sample

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_OPENING, _CLOSING = "⟦", "⟧"
_LONGEST = 1500
_SHORT = 600


def console() -> "Console":
    """A console for results on stdout, as wide as the terminal; elsewhere lines are never broken."""
    from recipes.terminal import PlainConsole

    found = PlainConsole(highlight=False, markup=False, emoji=False)
    if not found.is_terminal:
        found.width = 160
    return found


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> "Table":
    """Text to the left, numbers to the right with a comma between thousands."""
    from rich.table import Table

    from recipes.terminal import harmless

    shown = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for number, name in enumerate(head):
        is_text = any(isinstance(row[number], str) for row in rows)
        shown.add_column(name, justify="left" if is_text else "right", overflow="fold")
    for row in rows:
        shown.add_row(
            *(harmless(value).replace("\n", "␊") if isinstance(value, str) else f"{value:,}" for value in row)
        )
    return shown


def as_read(sample: Sample, coloured: bool) -> "Text":
    """A row as the model reads it, cut after 1,500 characters."""
    from rich.text import Text

    shown = Text()
    room = _LONGEST
    for run in _runs(sample.pieces):
        supervised = run[0].supervised
        if supervised and not coloured:
            shown.append(_OPENING)
        for piece in run:
            shown.append(piece.text[: max(0, room)], style=_style(piece) if coloured else "")
            room -= len(piece.text)
        if supervised and not coloured:
            shown.append(_CLOSING)
        if room <= 0:
            shown.append(" …")
            break
    return shown


def shortened(text: str) -> str:
    """The first 600 characters."""
    return text if len(text) <= _SHORT else f"{text[:_SHORT]} …"


def quantiles(lengths: Sequence[int]) -> Mapping[str, int]:
    """Median, 95th percentile and maximum."""
    ordered = sorted(lengths)
    if not ordered:
        return {"median": 0, "p95": 0, "longest": 0}
    at = {"median": 0.5, "p95": 0.95, "longest": 1.0}
    return {name: ordered[min(len(ordered) - 1, int(share * len(ordered)))] for name, share in at.items()}


def _runs(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Pieces side by side of which the loss counts all or none."""
    runs: list[list[Piece]] = []
    for piece in pieces:
        if runs and runs[-1][0].supervised == piece.supervised:
            runs[-1].append(piece)
        else:
            runs.append([piece])
    return runs


def _style(piece: Piece) -> str:
    return f"{'bold green' if piece.supervised else ''}{' dim' if piece.control else ''}".strip()
