"""The rows of a clean corpus that pairs are made of: those that are left after the search for duplicates."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpora.tables.tables import ROWS, facts_of, rows_of


@dataclass(frozen=True)
class KeptRows:
    """A clean folder, and the table of the ids of its rows that are left out, if any."""

    folder: Path
    removed: Path | None = None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        left_out = self._left_out()
        return (row for row in rows_of(self.folder / ROWS) if row["id"] not in left_out)

    @property
    def kind(self) -> str:
        kind: str = facts_of(self.folder / ROWS)["kind"]
        return kind

    @property
    def duplicates(self) -> int:
        return len(self._left_out())

    def _left_out(self) -> set[str]:
        return set() if self.removed is None else {row["id"] for row in rows_of(self.removed, ["id"])}
