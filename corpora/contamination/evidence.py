"""What was found, for a person to judge: both texts, where they overlap, and why it is allowed if it is.

A row of a sensitive source, and an item of a set of harmful prompts, is shown by its id, spans and coverage alone.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from corpora.contamination.screen import Match, Record, parts_of
from lineage.checks import Check, check
from recipes.cleaning import Contamination

if TYPE_CHECKING:
    import pyarrow as pa

EVIDENCE = "evidence.parquet"


def evidence_schema() -> "pa.Schema":
    import pyarrow as pa

    spans = pa.list_(pa.struct([("start", pa.int32()), ("end", pa.int32())]))
    return pa.schema(
        [
            ("id", pa.string()),
            ("source", pa.string()),
            ("origin", pa.struct([("file", pa.string()), ("line", pa.int64())])),
            ("task", pa.string()),
            ("item", pa.int64()),
            ("kind", pa.string()),
            ("coverage", pa.float64()),
            ("row_text", pa.string()),
            ("item_text", pa.string()),
            ("row_spans", spans),
            ("item_spans", spans),
            ("allowed", pa.bool_()),
            ("reason", pa.string()),
        ]
    )


def evidence_row(record: Record, match: Match, sensitive: bool) -> dict[str, Any]:
    """One line of evidence. sensitive: of the row's source."""
    shown = not (sensitive or match.sensitive)
    return {
        "id": record["id"],
        "source": record["source"],
        "origin": record["origin"],
        "task": match.task,
        "item": match.item,
        "kind": match.kind,
        "coverage": match.coverage,
        "row_text": "\n".join(parts_of(record)) if shown else None,
        "item_text": match.item_text if shown else None,
        "row_spans": [{"start": start, "end": end} for start, end in match.row_spans],
        "item_spans": [{"start": start, "end": end} for start, end in match.item_spans],
        "allowed": match.allowed is not None,
        "reason": match.allowed,
    }


@dataclass
class Found:
    """Matches of one corpus, counted by task."""

    section: Contamination
    matched: Counter[str] = field(default_factory=Counter)
    allowed: Counter[str] = field(default_factory=Counter)

    def add(self, match: Match) -> bool:
        """Count a match; True if its row is to be left out."""
        (self.matched if match.allowed is None else self.allowed)[match.task] += 1
        return match.allowed is None

    def metrics(self) -> dict[str, Any]:
        return {"matched": dict(sorted(self.matched.items())), "allowed": dict(sorted(self.allowed.items()))}

    def check(self) -> Check:
        """The blocking check `contamination`: rows that match are out, or stop the graph, as the recipe says."""
        count = self.matched.total()
        where = f" ({_listed(self.matched)})" if count else ""
        allowed = f"; {self.allowed.total()} allowed by the recipe ({_listed(self.allowed)})" if self.allowed else ""
        done = "left out" if self.section.on_match == "remove" else "found, and on_match is 'block'"
        return check(
            count == 0 or self.section.on_match == "remove",
            count,
            f"copies of evaluation items {done}: {count}{where}{allowed}; see {EVIDENCE}",
        )


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{task} {count}" for task, count in sorted(counts.items()))
