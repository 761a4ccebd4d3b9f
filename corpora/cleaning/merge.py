"""Blocks put together in the order of the source: repeats and copies of evaluation items out, tables written."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpora.cleaning import block
from corpora.cleaning.block import Plan
from corpora.cleaning.exact import Seen
from corpora.cleaning.streams import batches
from corpora.cleaning.tally import StepTally, Tally
from corpora.contamination.evidence import Found
from corpora.tables.tables import Table

if TYPE_CHECKING:
    import pyarrow as pa


class Merge:
    """Takes block after block. Of repeats the first in the source is kept; a repeat of a copy counts as a repeat."""

    def __init__(self, plan: Plan, rows: Table, quarantine: Table, filtered: Table, evidence: Table) -> None:
        self.tally = Tally(steps=[StepTally(step.kind) for step in plan.source.row_steps])
        self.found = Found(plan.contamination)
        self._limit = plan.source.limit
        self._seen = Seen()
        self._rows, self._quarantine, self._filtered, self._evidence = rows, quarantine, filtered, evidence

    @property
    def room(self) -> int | None:
        """Rows that may still come before the source's limit is reached; None without a limit."""
        return None if self._limit is None else max(0, self._limit - self.tally.read)

    def add(self, found: Tally, folder: Path) -> None:
        self.tally.add(found)
        for batch in batches(folder / block.QUARANTINE):
            self._quarantine.extend(batch)
        for batch in batches(folder / block.FILTERED):
            self._filtered.extend(batch)
        evidence = itertools.chain.from_iterable(map(_rows_of, batches(folder / block.EVIDENCE)))
        for batch in batches(folder / block.ROWS):
            self._keep(batch, evidence)

    def _keep(self, batch: "pa.RecordBatch", evidence: Iterator[dict[str, Any]]) -> None:
        import pyarrow as pa

        first = self._seen.first(b"".join(batch.column(block.KEY).to_pylist()))
        screened = batch.column(block.SCREENED).to_numpy()
        for new in first[screened != block.CLEAR].tolist():
            shown = next(evidence)
            if new:
                self._evidence.add(shown)
                (self.found.allowed if shown["allowed"] else self.found.matched)[shown["task"]] += 1
        kept = first & (screened != block.COPY)
        self.tally.duplicate += int((~first).sum())
        self.tally.contaminated += int((first & ~kept).sum())
        self.tally.kept += int(kept.sum())
        clean = batch.drop_columns([block.KEY, block.SCREENED])
        self._rows.extend(clean if kept.all() else clean.filter(pa.array(kept)))


def _rows_of(batch: "pa.RecordBatch") -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = batch.to_pylist()
    return rows
