"""Flips: the items that the candidate lost and won against the reference, with the answers of all side by side.

Every flip is counted; of each metric the first of them are shown, losses before gains, and one item that stayed as it
was. Only items whose text the report keeps can be shown; texts of harmful prompts never get into a report.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from evaluation.report import Report, Sample

_EACH_WAY = 25
_UNCHANGED = 1
_LONGEST_TEXT = 700
_LONGEST_TITLE = 90

Change = Literal["lost", "won", "same"]

_Key = tuple[str, str, str]


@dataclass(frozen=True)
class Answer:
    """What one checkpoint said. `mark` is pass, fail, or a percentage for a graded score."""

    name: str
    text: str
    mark: str


@dataclass(frozen=True)
class Shown:
    """One item: what was asked and expected, and every checkpoint's answer."""

    title: str
    prompt: str
    target: str
    answers: list[Answer]


@dataclass(frozen=True)
class Flips:
    """How one metric's items went: all of them counted, some shown. `texts`: whether the report keeps any."""

    metric: str
    counts: dict[Change, int]
    shown: dict[Change, list[Shown]]
    texts: bool


def flips(reports: Mapping[str, Report], candidate: Report, reference: Report, metrics: list[str]) -> list[Flips]:
    """What `candidate` lost, won and kept of each of `metrics` against `reference`, over the items of both."""
    indexed = {name: _by_item(report) for name, report in reports.items()}
    ours, theirs = _by_item(candidate), _by_item(reference)
    found = []
    for metric in metrics:
        items = [key for key in ours if "/".join(key[:2]) == metric and key in theirs]
        if not items:
            continue
        changes: dict[Change, list[_Key]] = {"lost": [], "won": [], "same": []}
        for key in items:
            move = _good(ours[key]) - _good(theirs[key])
            changes["won" if move > 0 else "lost" if move < 0 else "same"].append(key)
        texts = {change: [key for key in keys if _has_text(ours[key])] for change, keys in changes.items()}
        most = {"lost": _EACH_WAY, "won": _EACH_WAY, "same": _UNCHANGED}
        found.append(
            Flips(
                metric=metric,
                counts={change: len(keys) for change, keys in changes.items()},
                shown={c: [_shown(key, indexed) for key in keys[: most[c]]] for c, keys in texts.items()},
                texts=any(texts.values()),
            )
        )
    return found


def _shown(key: _Key, indexed: Mapping[str, Mapping[_Key, Sample]]) -> Shown:
    rows = {name: items[key] for name, items in indexed.items() if key in items}
    first = next(iter(rows.values()))
    return Shown(
        title=_cut(" ".join((first.get("prompt") or "").split()), _LONGEST_TITLE),
        prompt=_cut(first.get("prompt"), _LONGEST_TEXT),
        target=_cut(first.get("target"), _LONGEST_TEXT),
        answers=[Answer(name, _cut(row.get("response"), _LONGEST_TEXT), _mark(row)) for name, row in rows.items()],
    )


def _by_item(report: Report) -> dict[_Key, Sample]:
    return {(row["task"], row["metric"], row["doc_hash"]): row for row in report.rows}


def _has_text(row: Sample) -> bool:
    return row.get("prompt") is not None and row.get("response") is not None


def _good(row: Sample) -> float:
    """The score turned so that 1 is best."""
    return row["score"] if row["higher_is_better"] else 1 - row["score"]


def _mark(row: Sample) -> str:
    return {1.0: "pass", 0.0: "fail"}.get(_good(row)) or f"{_good(row):.0%}"


def _cut(text: str | None, longest: int) -> str:
    text = (text or "").strip()
    return text if len(text) <= longest else text[:longest] + " …"
