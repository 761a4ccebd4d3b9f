"""What became of every row of a source, in counts that add up, block by block, to the metrics of its clean corpus."""

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from corpora.reading.lines import BadRow, Row
from lineage.checks import check
from recipes.sources import Source

_REASONS_SHOWN = 3


@dataclass
class StepTally:
    """One declared step: rows before it, and how many it removed for which reason or changed in which way."""

    kind: str
    before: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    masked: Counter[str] = field(default_factory=Counter)
    spread: dict[str, Any] = field(default_factory=dict)
    """Of a step that scores: how the scores are spread."""

    @property
    def removed(self) -> int:
        return self.reasons.total()

    def add(self, other: "StepTally") -> None:
        self.before += other.before
        self.reasons += other.reasons
        self.masked += other.masked

    def metrics(self) -> dict[str, Any]:
        counted = {"kind": self.kind, "before": self.before, "after": self.before - self.removed}
        masked = {"masked": dict(sorted(self.masked.items()))} if self.kind == "pii" else {}
        return {
            **counted,
            "removed": self.removed,
            "reasons": dict(sorted(self.reasons.items())),
            **masked,
            **self.spread,
        }


@dataclass
class Tally:
    """What became of every row read. `beyond`: rows after the recipe's limit, which count as filtered."""

    read: int = 0
    kept: int = 0
    quarantined: int = 0
    duplicate: int = 0
    contaminated: int = 0
    beyond: int = 0
    steps: list[StepTally] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    first: list[str] = field(default_factory=list)
    unwanted: int = 0
    """Of the quarantined, rows that say of themselves that they are not to be learned: nothing is wrong with these."""
    bytes_read: int = 0
    """Of rows that could be told apart, of which there are `apart`."""
    apart: int = 0
    bytes_lost: int = 0
    """Of stretches in which rows could not be told apart, of which there are `stretches`."""
    stretches: int = 0
    also_lost: int = 0
    """Rows that a damaged file is known to hold beside those that were read."""
    untold: int = 0
    """Stretches of which nothing tells how many rows they hold."""

    @property
    def lost(self) -> float:
        """Rows beyond those that were counted: known of, or as many as the bytes of a stretch would hold at the usual
        length. Infinite if nothing tells how many."""
        if self.untold:
            return math.inf
        usual = self.bytes_read / self.apart if self.apart else self.bytes_lost or 1
        return self.also_lost + max(0, round(self.bytes_lost / usual) - self.stretches)

    @property
    def filtered(self) -> int:
        return self.beyond + sum(step.removed for step in self.steps)

    @property
    def missing(self) -> int:
        """Rows that nothing accounts for."""
        return self.read - self.kept - self.quarantined - self.duplicate - self.filtered - self.contaminated

    @property
    def bad_share(self) -> float:
        """Quarantined and lost rows among those looked at, but for those that are not to be learned."""
        if self.lost == math.inf:
            return 1.0
        return (self.quarantined - self.unwanted + self.lost) / max(1, self.read - self.beyond + self.lost)

    def met(self, row: Row) -> None:
        """A row that could be told apart from others, whatever becomes of it."""
        self.apart += 1
        self.bytes_read += len(row.raw)

    def set_aside(self, bad: BadRow) -> None:
        """A bad row, or the next part of one."""
        if bad.holds is None:
            self.bytes_lost += len(bad.raw)
            self.stretches += bad.part == 0
        if bad.part:
            return
        self.quarantined += 1
        self.untold += bad.holds == math.inf
        self.also_lost += 0 if bad.holds in (None, math.inf) else int(bad.holds or 1) - 1
        self.reasons[bad.reason.partition(":")[0]] += 1
        if len(self.first) < _REASONS_SHOWN:
            self.first.append(f"{bad.file}:{bad.line}: {bad.reason}")

    def add(self, block: "Tally") -> None:
        """Add what was counted in the next block; duplicates and contaminated rows are counted over all blocks."""
        self.read += block.read
        self.quarantined += block.quarantined
        self.beyond += block.beyond
        for name in ("unwanted", "bytes_read", "apart", "bytes_lost", "stretches", "also_lost", "untold"):
            setattr(self, name, getattr(self, name) + getattr(block, name))
        self.reasons += block.reasons
        self.first = [*self.first, *block.first][:_REASONS_SHOWN]
        for mine, theirs in zip(self.steps, block.steps, strict=True):
            mine.add(theirs)

    def take(self, step: StepTally) -> None:
        """Add a step that worked on all rows that were kept until then."""
        self.steps.append(step)
        self.kept -= step.removed

    @property
    def told_of_lost(self) -> str:
        """What to say of lost rows, behind the number of others."""
        if not self.lost:
            return ""
        many = "nobody knows how many" if self.lost == math.inf else f"about {self.lost:,.0f}"
        return f" and {many} more in stretches of files that cannot be split into rows"

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "steps": [vars(step) for step in self.steps]}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "Tally":
        steps = [
            StepTally(s["kind"], s["before"], Counter(s["reasons"]), Counter(s["masked"])) for s in fields["steps"]
        ]
        return cls(**{**fields, "steps": steps, "reasons": Counter(fields["reasons"])})

    def metrics(self, source: Source) -> dict[str, Any]:
        counts = {
            "read": self.read,
            "kept": self.kept,
            "quarantined": self.quarantined,
            "duplicate": self.duplicate,
            "filtered": self.filtered,
            "contaminated": self.contaminated,
        }
        return {
            **counts,
            "beyond_limit": self.beyond,
            "steps": [step.metrics() for step in self.steps],
            "quarantine_reasons": dict(sorted(self.reasons.items())),
            "checks": {
                "rows_conserved": check(
                    self.missing == 0,
                    self.missing,
                    f"{self.read} read = "
                    + " + ".join(f"{count} {name}" for name, count in counts.items() if name != "read"),
                ),
                "quarantine_share": check(
                    self.bad_share <= source.max_quarantined,
                    self.bad_share,
                    f"share of bad rows{self.told_of_lost}, at most {source.max_quarantined:g}",
                ),
            },
        }
