"""A report: one checkpoint scored by one frozen suite, with the outcome of every item.

`report.json` holds who was scored (`subject`), by what (`suite`), where it ran (`runtime`), the mean of
each metric with its standard error and interval, the health of the run, and the digest of
`samples.parquet`, which holds one row per item and metric. A report is written even when its health is
bad: it is then not `valid` and says why, so that a gate can refuse it and a person can look at it.

Reports hold nothing that changes from one run to the next (no time, no path, no name): the same
checkpoint, suite and runtime give the same bytes. Comparing reports is left to `evaluation.gating.gate`.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, Self, TypedDict, cast

from lineage.errors import EvaluationError
from lineage.files import write_json
from lineage.hashing import fingerprint, text_digest

if TYPE_CHECKING:
    import pyarrow

REPORT, SAMPLES = "report.json", "samples.parquet"
SCHEMA = 4


class Sample(TypedDict):
    """The outcome of one item on one metric; `(task, metric, doc_hash)` is unique and pairs two reports.

    doc_hash: sha256 of the item itself. prompt_hash: sha256 of what the model was shown. cluster: items
    that share it are not independent (the instructions of an IFEval prompt, the turns of a conversation); the item's
    own doc_hash if they are. stratum: the fixed part of its benchmark that the item belongs to (MMLU's subject), None
    where there are no parts. What its groups are, a task states by the one or the other.
    score: from 0 to 1. prompt, response, target: None where text must not be kept. question_hash: sha256 of the
    item's question without the spaces round it, by which it is found in the table of evaluation items; made from
    `prompt` where a task does not give it. confidence: probability that the model gives the choice that it takes.
    """

    task: str
    metric: str
    doc_id: int
    doc_hash: str
    prompt_hash: str
    cluster: str
    score: float
    higher_is_better: bool
    stratum: NotRequired[str | None]
    subgroup: NotRequired[str | None]
    prompt: NotRequired[str | None]
    response: NotRequired[str | None]
    target: NotRequired[str | None]
    question_hash: NotRequired[str | None]
    confidence: NotRequired[float | None]


class Result(TypedDict):
    """One metric of a report: `ci95` is a two-sided 95 % interval, `subgroups` are means without one."""

    n: int
    mean: float
    se: float
    ci95: list[float]
    n_clusters: int
    n_strata: int
    higher_is_better: bool
    subgroups: dict[str, dict[str, float]]


_REQUIRED = ("task", "metric", "doc_id", "doc_hash", "prompt_hash", "cluster", "score", "higher_is_better")
_OPTIONAL = ("stratum", "subgroup", "prompt", "response", "target", "question_hash", "confidence")


@dataclass(frozen=True)
class Report:
    """See the module. `results` is by metric name `<task>/<metric>`; build one with `from_samples` or `load`.

    subject: {checkpoint_digest, weights_sha256, template_sha256}. suite: {digest, version, tasks: {name:
    {kind, data_digest, …}}}. runtime: {backend, versions, dtype, batch_size, device, threads}. health: counts by
    task. details: what else a task found, by task.
    """

    subject: dict[str, Any]
    suite: dict[str, Any]
    runtime: dict[str, Any]
    results: dict[str, Result]
    health: dict[str, Any]
    details: dict[str, Any]
    invalid_reasons: tuple[str, ...]
    samples_digest: str
    rows: tuple[Sample, ...] = field(repr=False)

    @property
    def valid(self) -> bool:
        return not self.invalid_reasons

    @property
    def scores(self) -> dict[str, float]:
        """Means by metric, and their standard errors as `<metric>_se`."""
        means = {name: result["mean"] for name, result in self.results.items()}
        return means | {f"{name}_se": result["se"] for name, result in self.results.items()}

    @property
    def data_digests(self) -> dict[str, str]:
        """Digest of its items by task."""
        return {name: task["data_digest"] for name, task in self.suite["tasks"].items()}

    @property
    def report_id(self) -> str:
        """sha256 of the report's body, samples included."""
        return fingerprint(self._body())

    @classmethod
    def from_samples(
        cls,
        samples: Iterable[Sample],
        *,
        subject: Mapping[str, Any],
        suite: Mapping[str, Any],
        runtime: Mapping[str, Any],
        health: Mapping[str, Any] | None = None,
        details: Mapping[str, Any] | None = None,
        invalid_reasons: Sequence[str] = (),
    ) -> Self:
        """A report in memory. Raises ValueError for a score outside 0 to 1 (or NaN) or an item given twice."""
        rows = tuple(_complete(sample) for sample in samples)
        keys = Counter((row["task"], row["metric"], row["doc_hash"]) for row in rows)
        twice = [key for key, count in keys.items() if count > 1]
        if twice:
            raise ValueError(f"{len(twice)} items are given twice, the first is {twice[0]}")
        return cls(
            subject=dict(subject),
            suite=dict(suite),
            runtime=dict(runtime),
            results=_results(rows),
            health=dict(health or {}),
            details=dict(details or {}),
            invalid_reasons=tuple(invalid_reasons),
            samples_digest=fingerprint([dict(row) for row in rows]),
            rows=rows,
        )

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a report folder. Raises EvaluationError if it is no report or its two files disagree."""
        import pyarrow.parquet

        try:
            body = json.loads((folder / REPORT).read_text(encoding="utf-8"))
            rows = tuple(cast(Sample, row) for row in pyarrow.parquet.read_table(folder / SAMPLES).to_pylist())
        except (OSError, ValueError) as error:
            raise EvaluationError(f"{folder}: not a report: {error}") from None
        if body.get("schema") != SCHEMA:
            raise EvaluationError(f"{folder / REPORT}: report schema {body.get('schema')!r}, expected {SCHEMA}")
        report = cls(
            subject=body["subject"],
            suite=body["suite"],
            runtime=body["runtime"],
            results=body["results"],
            health=body["health"],
            details=body["details"],
            invalid_reasons=tuple(body["invalid_reasons"]),
            samples_digest=fingerprint([dict(row) for row in rows]),
            rows=rows,
        )
        if report.report_id != body["report_id"]:
            raise EvaluationError(f"{folder}: {REPORT} and {SAMPLES} are not of one report (report_id differs)")
        return report

    def samples(self) -> "pyarrow.Table":
        """All rows as a table, one column per field of `Sample`; `rows` holds the same as dicts."""
        import pyarrow

        number = pyarrow.float64()
        types = {"doc_id": pyarrow.int64(), "score": number, "confidence": number, "higher_is_better": pyarrow.bool_()}
        columns = [pyarrow.field(name, types.get(name, pyarrow.string())) for name in (*_REQUIRED, *_OPTIONAL)]
        return pyarrow.Table.from_pylist([dict(row) for row in self.rows], schema=pyarrow.schema(columns))

    def _body(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "subject": self.subject,
            "suite": self.suite,
            "runtime": self.runtime,
            "results": self.results,
            "health": self.health,
            "details": self.details,
            "valid": self.valid,
            "invalid_reasons": list(self.invalid_reasons),
            "samples": {"digest": self.samples_digest, "rows": len(self.rows)},
        }


def write_report(folder: Path, report: Report) -> None:
    """Write `report.json` and `samples.parquet` into an existing folder."""
    import pyarrow.parquet

    pyarrow.parquet.write_table(report.samples(), folder / SAMPLES, compression="zstd")
    write_json(folder / REPORT, {**report._body(), "report_id": report.report_id})


def groups_of(rows: Sequence[Sample]) -> tuple[list[str], list[str | None]]:
    """Cluster and stratum of each row of a metric."""
    return [row["cluster"] for row in rows], [row.get("stratum") for row in rows]


def _complete(sample: Sample) -> Sample:
    """The sample with every column, in one order. Raises ValueError for a missing column or a bad score."""
    missing = [name for name in _REQUIRED if name not in sample]
    if missing:
        raise ValueError(f"a sample lacks {missing}")
    if not 0 <= sample["score"] <= 1:
        raise ValueError(f"{sample['task']}/{sample['metric']} item {sample['doc_id']}: score {sample['score']}")
    confidence, prompt = sample.get("confidence"), sample.get("prompt")
    if confidence is not None and not 0 <= confidence <= 1:
        raise ValueError(f"{sample['task']}/{sample['metric']} item {sample['doc_id']}: confidence {confidence}")
    values = {name: sample[name] for name in _REQUIRED} | {name: sample.get(name) for name in _OPTIONAL}  # type: ignore[literal-required]
    if values["question_hash"] is None and prompt is not None:
        values["question_hash"] = text_digest(prompt.strip())
    return cast(Sample, {**values, "score": float(sample["score"])})


def _results(rows: Sequence[Sample]) -> dict[str, Result]:
    metrics: dict[str, list[Sample]] = {}
    for row in rows:
        metrics.setdefault(f"{row['task']}/{row['metric']}", []).append(row)
    return {name: _result(of_metric) for name, of_metric in metrics.items()}


def _result(rows: Sequence[Sample]) -> Result:
    from evaluation.statistics.statistics import mean_interval

    scores = [row["score"] for row in rows]
    clusters, strata = groups_of(rows)
    interval = mean_interval(scores, clusters, set(scores) <= {0.0, 1.0}, strata=strata)
    groups: dict[str, list[float]] = {}
    for row in rows:
        if (subgroup := row.get("subgroup")) is not None:
            groups.setdefault(subgroup, []).append(row["score"])
    return {
        "n": interval.n,
        "mean": float(interval.mean),
        "se": float(interval.se),
        "ci95": [float(interval.low), float(interval.high)],
        "n_clusters": interval.n_clusters,
        "n_strata": len(set(strata)),
        "higher_is_better": rows[0]["higher_is_better"],
        "subgroups": {name: {"n": len(g), "mean": math.fsum(g) / len(g)} for name, g in sorted(groups.items())},
    }
