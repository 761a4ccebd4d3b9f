"""The figures of a data report, from what the makers of the artefacts wrote down and from the mixture's own rows.

Nothing here shows text. What the figures mean is said on the page.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_ROUNDING = 1e-9


@dataclass(frozen=True)
class Share:
    """A group or a source: its share as planned and as given, and how far the scheduler promises to stay to it.

    epochs: how many times its rows were read; None of a group.
    """

    name: str
    planned: float
    realised: float
    bound: float
    rows: int
    units: int
    epochs: float | None = None

    @property
    def error(self) -> float:
        return self.realised - self.planned

    @property
    def kept(self) -> bool:
        return abs(self.error) <= self.bound + _ROUNDING


@dataclass(frozen=True)
class Ledger:
    """What became of every row of a source: rows read and `more` are those of all other fields but `used` in sum.

    more: rows that conversations were made into beyond one each, since the template shows an answer otherwise once
    others follow it. available: for training, each once; used: rows of the mixture, more than these where rows are
    repeated.
    """

    source: str
    read: int
    more: int
    quarantined: int
    filtered: int
    exact: int
    contaminated: int
    near: int
    overlong: int
    control_tokens: int
    refused: int
    kept_apart: int
    available: int
    used: int


@dataclass(frozen=True)
class Step:
    """A declared filter of a source: rows before it, those removed by reason, what it masked."""

    source: str
    kind: str
    before: int
    removed: int
    reasons: Mapping[str, int]
    masked: Mapping[str, int]


@dataclass(frozen=True)
class Facts:
    """All of it. checks: of the mixture and what it is made of, as (what they are of, name, result)."""

    groups: Sequence[Share]
    sources: Sequence[Share]
    ledgers: Sequence[Ledger]
    steps: Sequence[Step]
    quarantine: Mapping[str, Mapping[str, int]]
    matched: Mapping[str, Mapping[str, int]]
    allowed: Mapping[str, Mapping[str, int]]
    checks: Sequence[tuple[str, str, Mapping[str, Any]]]

    @property
    def overlong_share(self) -> float:
        """Rows left out as too long, of all that are not left out for another reason."""
        overlong = sum(ledger.overlong for ledger in self.ledgers)
        return overlong / max(1, overlong + sum(ledger.available + ledger.kept_apart for ledger in self.ledgers))

    @property
    def read(self) -> int:
        return sum(ledger.read for ledger in self.ledgers)


def gather(
    manifest: Mapping[str, Any],
    metrics: Mapping[str, Mapping[str, Any]],
    of_mixture: Mapping[str, Any],
    of_distinct: Mapping[str, Any] | None,
) -> Facts:
    """manifest: of the mixture; metrics: of the clean corpus of each of its sources; of_mixture: its checks."""
    used = {name: metrics[name] for name in manifest["sources"]}
    checks = [("mixture", name, check) for name, check in of_mixture.items()]
    checks += [("distinct", name, check) for name, check in ((of_distinct or {}).get("checks") or {}).items()]
    checks += [(f"clean/{s}", name, check) for s, m in used.items() for name, check in m["checks"].items()]
    contamination = {name: m.get("contamination", {}) for name, m in used.items()}
    return Facts(
        groups=list(_groups(manifest)),
        sources=list(_sources(manifest)),
        ledgers=[_ledger(name, manifest["sources"][name], m) for name, m in used.items()],
        steps=[step for name, m in used.items() for step in _steps(name, m)],
        quarantine={name: m["quarantine_reasons"] for name, m in used.items() if m["quarantine_reasons"]},
        matched={name: found["matched"] for name, found in contamination.items() if found.get("matched")},
        allowed={name: found["allowed"] for name, found in contamination.items() if found.get("allowed")},
        checks=checks,
    )


def _groups(manifest: Mapping[str, Any]) -> Iterator[Share]:
    for name, planned in manifest["planned"].items():
        given, bound = manifest["realised"][name], manifest["bounds"]["groups"][name]
        yield Share(name, planned, given["share"], _bound(bound, manifest), given["rows"], given["units"])


def _sources(manifest: Mapping[str, Any]) -> Iterator[Share]:
    for name, given in manifest["sources"].items():
        bound = manifest["bounds"]["sources"].get(name, {"ahead": 0, "behind": 0})
        share = given["units"] / manifest["units"]
        epochs = given["epochs"]
        yield Share(name, given["share"], share, _bound(bound, manifest), given["rows"], given["units"], epochs)


def _bound(bound: Mapping[str, float], manifest: Mapping[str, Any]) -> float:
    return max(bound["ahead"], bound["behind"]) / float(manifest["units"])


def _ledger(name: str, given: Mapping[str, Any], metrics: Mapping[str, Any]) -> Ledger:
    left_out = given["left_out"]
    return Ledger(
        source=name,
        read=metrics["read"],
        more=given["more_rows"],
        quarantined=metrics["quarantined"],
        filtered=metrics["filtered"],
        exact=metrics["duplicate"],
        contaminated=metrics["contaminated"],
        near=left_out["near_duplicate"],
        overlong=left_out["overlong"],
        control_tokens=left_out["control_tokens"],
        refused=left_out["tools"] + left_out["template"] + left_out["unanswered"],
        kept_apart=sum(rows for side, rows in given["splits"].items() if side != "train"),
        available=given["rows_available"],
        used=given["rows"],
    )


def _steps(name: str, metrics: Mapping[str, Any]) -> Iterator[Step]:
    for step in metrics["steps"]:
        yield Step(name, step["kind"], step["before"], step["removed"], step["reasons"], step.get("masked", {}))
    if beyond := metrics.get("beyond_limit"):
        yield Step(name, "limit", metrics["read"], beyond, {"after the recipe's limit": beyond}, {})
