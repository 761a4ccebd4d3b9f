"""Answers side by side: the same item as base, the stages and the champion answered it.

A few items that the candidate won, lost, and left as they were, per metric, the target's first. Only items
whose text the report keeps can be shown; texts of harmful prompts never get into a report.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from evaluation.report import Report, Sample

_EACH_WAY = 3
_UNCHANGED = 1
_LONGEST_TEXT = 700

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

    metric: str
    change: str
    prompt: str
    target: str
    answers: list[Answer]


def side_by_side(
    reports: Mapping[str, Report], candidate: Report, reference: Report, metrics: list[str]
) -> list[Shown]:
    """Items of each of `metrics` that `candidate` gained on `reference`, lost, and left as they were."""
    indexed = {name: _by_item(report) for name, report in reports.items()}
    ours, theirs = _by_item(candidate), _by_item(reference)
    shown: list[Shown] = []
    for metric in metrics:
        items = [key for key in ours if "/".join(key[:2]) == metric and key in theirs and _has_text(ours[key])]
        moves = {key: _good(ours[key]) - _good(theirs[key]) for key in items}
        gained, lost = [k for k in items if moves[k] > 0], [k for k in items if moves[k] < 0]
        same = [k for k in items if moves[k] == 0]
        for change, keys in (("gained", gained[:_EACH_WAY]), ("lost", lost[:_EACH_WAY]), ("same", same[:_UNCHANGED])):
            shown += [_shown(key, metric, change, indexed) for key in keys]
    return shown


def _shown(key: _Key, metric: str, change: str, indexed: Mapping[str, Mapping[_Key, Sample]]) -> Shown:
    rows = {name: items[key] for name, items in indexed.items() if key in items}
    first = next(iter(rows.values()))
    return Shown(
        metric=metric,
        change=change,
        prompt=_cut(first.get("prompt")),
        target=_cut(first.get("target")),
        answers=[Answer(name, _cut(row.get("response")), _mark(row)) for name, row in rows.items()],
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


def _cut(text: str | None) -> str:
    text = (text or "").strip()
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + " …"
