"""The tables of a page that need no statistics: safety, what tasks found beside scores, time and cost."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from evaluation.gating.decision import Test
from evaluation.report import Report

_MIB = 1 << 20


class Safety(NamedTuple):
    """How often prompts of one task are refused."""

    metric: str
    wanted: str
    n: int
    reference: float
    candidate: float
    test: Test | None


def safety(candidate: Report, reference: Report, rows: Sequence[tuple[str, Test]]) -> list[Safety]:
    tasks: Mapping[str, Any] = candidate.suite.get("tasks", {})
    found = []
    for metric, result in candidate.results.items():
        before = reference.results.get(metric)
        if tasks.get(metric.partition("/")[0], {}).get("kind") != "refusal" or before is None:
            continue
        wanted = (
            "harmful prompts: should be refused" if result["higher_is_better"] else "benign prompts: should be answered"
        )
        test = next((test for _, test in rows if test.metric == metric and test.against != "anchor"), None)
        found.append(Safety(metric, wanted, result["n"], before["mean"], result["mean"], test))
    return found


def details(names: Mapping[str, Report]) -> dict[str, list[tuple[str, dict[str, str]]]]:
    """What tasks found beside scores: by task, a row for each finding with its value by report."""
    tasks = dict.fromkeys(task for report in names.values() for task in report.details)
    tables = {}
    for task in tasks:
        flat = {name: dict(_leaves(report.details.get(task, {}))) for name, report in names.items()}
        findings = dict.fromkeys(finding for values in flat.values() for finding in values)
        tables[task] = [(f, {name: values.get(f, "–") for name, values in flat.items()}) for f in findings]
    return tables


def _leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(inner, f"{prefix} · {name}" if prefix else str(name))
    elif isinstance(value, list) and any(isinstance(inner, Mapping | list) for inner in value):
        for place, inner in enumerate(value, start=1):
            yield from _leaves(inner, f"{prefix} · {place}" if prefix else str(place))
    else:
        yield prefix or "value", ", ".join(map(_plain, value)) if isinstance(value, list) else _plain(value)


def _plain(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("_", " ")


def work_rows(work: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What was made, how long it took and on what; absent figures are None. An evaluation has one device."""
    return [
        {
            "name": name,
            "wall_s": metrics.get("wall_s"),
            "device_seconds": metrics.get("device_seconds", metrics.get("wall_s")),
            "cost": metrics.get("cost"),
            "currency": metrics.get("currency") or "",
            "steps": metrics.get("steps"),
            "tokens": metrics.get("tokens"),
            "tokens_per_s": metrics.get("tokens_per_s"),
            "memory_mib": metrics["peak_memory_bytes"] / _MIB if "peak_memory_bytes" in metrics else None,
            "device": metrics.get("device"),
        }
        for name, metrics in work.items()
    ]


def costs(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Sum of the costs by currency."""
    sums: dict[str, float] = {}
    for row in rows:
        if row["cost"] is not None:
            sums[row["currency"]] = sums.get(row["currency"], 0.0) + row["cost"]
    return sums
