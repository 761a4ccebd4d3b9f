"""What became of every row of a source, in counts that add up, block by block, to the metrics of its clean corpus."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from corpora.reading.lines import BadRow
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

    @property
    def filtered(self) -> int:
        return self.beyond + sum(step.removed for step in self.steps)

    @property
    def missing(self) -> int:
        """Rows that nothing accounts for."""
        return self.read - self.kept - self.quarantined - self.duplicate - self.filtered - self.contaminated

    @property
    def bad_share(self) -> float:
        """Quarantined rows among those looked at."""
        return self.quarantined / max(1, self.read - self.beyond)

    def set_aside(self, bad: BadRow) -> None:
        self.quarantined += 1
        self.reasons[bad.reason.partition(":")[0]] += 1
        if len(self.first) < _REASONS_SHOWN:
            self.first.append(f"{bad.file}:{bad.line}: {bad.reason}")

    def add(self, block: "Tally") -> None:
        """Add what was counted in the next block; duplicates and contaminated rows are counted over all blocks."""
        self.read += block.read
        self.quarantined += block.quarantined
        self.beyond += block.beyond
        self.reasons += block.reasons
        self.first = [*self.first, *block.first][:_REASONS_SHOWN]
        for mine, theirs in zip(self.steps, block.steps, strict=True):
            mine.add(theirs)

    def take(self, step: StepTally) -> None:
        """Add a step that worked on all rows that were kept until then."""
        self.steps.append(step)
        self.kept -= step.removed

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
                    f"share of bad rows, at most {source.max_quarantined:g}",
                ),
            },
        }
