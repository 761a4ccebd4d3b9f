"""Which of a suite's items stand in the training data, and what the scores are without them.

A report is shared by all recipes that score the same checkpoint, so it knows nothing of training data; a decision
does. Items are told from the table that the corpora were searched for (`corpora.contamination`): its texts and a
report's samples are brought together by the hash of the question. A row that holds several items is evidence of the
one that it holds most of. What the base model was trained on before is not known here.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from corpora.tables.tables import rows_of
from evaluation.gating.decision import CleanScore, Contamination, TaskContamination, Test
from evaluation.gating.gate import again
from evaluation.report import Report
from lineage.hashing import fingerprint, text_digest

State = Literal["clean", "removed", "kept", "unknown"]


@dataclass(frozen=True)
class Searched:
    """What the search of a recipe's corpora found, by task and question hash.

    known: all items that were searched for. removed: those with a copy that was taken out. kept: those with a copy
    that was not, and why the recipe allows it.
    """

    sources: list[str]
    known: Mapping[str, frozenset[str]]
    removed: Mapping[str, frozenset[str]]
    kept: Mapping[str, Mapping[str, str]]

    @property
    def digest(self) -> str:
        """Of what a decision may say about it."""
        return fingerprint(
            {
                "sources": self.sources,
                "known": {task: fingerprint(sorted(hashes)) for task, hashes in self.known.items()},
                "removed": {task: sorted(hashes) for task, hashes in self.removed.items()},
                "kept": self.kept,
            }
        )

    def state(self, task: str, question: str | None) -> State:
        if question is None or question not in self.known.get(task, ()):
            return "unknown"
        if question in self.kept.get(task, ()):
            return "kept"
        return "removed" if question in self.removed.get(task, ()) else "clean"


def searched(items: Path, evidence: Mapping[str, Path]) -> Searched:
    """items: the table of evaluation items. evidence: by source, what the search of its rows found."""
    hashes: dict[tuple[str, int], list[str]] = {}
    for row in rows_of(items, ["task", "item", "text"]):
        hashes.setdefault((row["task"], row["item"]), []).append(text_digest(row["text"]))
    known: dict[str, set[str]] = {}
    for (task, _), found in hashes.items():
        known.setdefault(task, set()).update(found)
    removed: dict[str, set[str]] = {}
    kept: dict[str, dict[str, str]] = {}
    for path in evidence.values():
        for row in rows_of(path, ["task", "item", "allowed", "reason"]):
            for question in hashes[row["task"], row["item"]]:
                if row["allowed"]:
                    kept.setdefault(row["task"], {})[question] = row["reason"]
                else:
                    removed.setdefault(row["task"], set()).add(question)
    return Searched(
        sources=sorted(evidence),
        known={task: frozenset(found) for task, found in sorted(known.items())},
        removed={task: frozenset(found) for task, found in sorted(removed.items())},
        kept={task: dict(sorted(found.items())) for task, found in sorted(kept.items())},
    )


def contamination_of(
    found: Searched, candidate: Report, reference: Report, anchor: Report, power: float
) -> Callable[[list[Test]], Contamination]:
    """What a decision says of contamination, once it has its tests. power: as the recipe asks of a guard."""

    def told(tests: list[Test]) -> Contamination:
        reports = {"candidate": candidate, "reference": reference}
        if anchor.report_id != reference.report_id:
            reports["anchor"] = anchor
        subsets = {role: _clean(report, found) for role, report in reports.items()}
        repeated = [
            again(test, subsets["candidate"], subsets["anchor" if test.against == "anchor" else "reference"], power)
            for test in tests
            if _lost_some(test.metric, candidate, subsets["candidate"])
        ]
        return Contamination(
            sources=found.sources,
            tasks=_tasks(found, candidate),
            scores=[
                _score(metric, role, report, subsets[role])
                for metric in candidate.results
                for role, report in reports.items()
                if metric in report.results
            ],
            tests=repeated,
        )

    return told


def _questions(report: Report) -> dict[tuple[str, int], str | None]:
    """Question hash by task and number of the item: what one of its samples says holds for all."""
    hashes: dict[tuple[str, int], str | None] = {}
    for row in report.rows:
        key = row["task"], row["doc_id"]
        hashes[key] = hashes.get(key) or row.get("question_hash")
    return hashes


def _clean(report: Report, found: Searched) -> Report:
    """The report of the items that are known to have no copy in the training data."""
    clean = {
        (task, item)
        for (task, item), question in _questions(report).items()
        if found.state(task, question) in ("clean", "removed")
    }
    return Report.from_samples(
        [row for row in report.rows if (row["task"], row["doc_id"]) in clean],
        subject=report.subject,
        suite=report.suite,
        runtime=report.runtime,
    )


def _tasks(found: Searched, report: Report) -> dict[str, TaskContamination]:
    states: dict[str, Counter[State]] = {}
    reasons: dict[str, Counter[str]] = {}
    for (task, _), question in _questions(report).items():
        state = found.state(task, question)
        states.setdefault(task, Counter())[state] += 1
        if state == "kept" and question is not None:
            reasons.setdefault(task, Counter())[found.kept[task][question]] += 1
    return {
        task: TaskContamination(
            items=counts.total(),
            clean=counts["clean"],
            removed=counts["removed"],
            kept=counts["kept"],
            unknown=counts["unknown"],
            reasons=dict(sorted(reasons.get(task, Counter()).items())),
        )
        for task, counts in states.items()
    }


def _lost_some(metric: str, report: Report, subset: Report) -> bool:
    """Whether a metric has fewer items in the subset, but some."""
    left: Any = subset.results.get(metric)
    return left is not None and left["n"] < report.results[metric]["n"]


def _score(metric: str, role: str, report: Report, subset: Report) -> CleanScore:
    whole, clean = report.results[metric], subset.results.get(metric)
    return CleanScore(
        metric=metric,
        report=role,
        n=whole["n"],
        mean=whole["mean"],
        ci95=(whole["ci95"][0], whole["ci95"][1]),
        clean_n=clean["n"] if clean else 0,
        clean_mean=clean["mean"] if clean else None,
        clean_ci95=(clean["ci95"][0], clean["ci95"][1]) if clean else None,
    )
