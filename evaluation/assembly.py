"""From the outcomes of a suite's tasks to its report, to what the record keeps of it, and to MLflow.

The report holds only what is the same every time; what a run costs goes into the record's metrics.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from evaluation import health
from evaluation.report import REPORT, SAMPLES, Report
from evaluation.task import Outcome, Prepared
from jobs.run_log import RunLog
from lineage.checks import check
from lineage.hashing import fingerprint, tree_digest
from lineage.store import Artifact
from recipes.suite import Evaluation

_PACKAGES = ("torch", "transformers", "tokenizers", "lm_eval", "nltk", "langdetect", "reasoning-gym")


@dataclass(frozen=True)
class Done:
    """A task's outcome, the seconds that it took, and what computed it (`LoadedModel.facts`)."""

    outcome: Outcome
    wall_s: float
    computed_by: dict[str, Any]


def build_report(
    checkpoint: Artifact,
    evaluation: Evaluation,
    suite: Mapping[str, Any],
    prepared: Mapping[str, Prepared],
    done: Mapping[str, Done],
) -> Report:
    reasons = [
        problem
        for name, task in prepared.items()
        for problem in health.problems(name, len(task.items), done[name].outcome)
    ]
    tasks = {name: {**suite["tasks"][name], **task.facts, "items": len(task.items)} for name, task in prepared.items()}
    return Report.from_samples(
        [sample for one in done.values() for sample in one.outcome.samples],
        subject=_subject(checkpoint),
        suite={
            "digest": fingerprint(suite),
            "version": suite["version"],
            **({"frozen": suite["suite"]} if "suite" in suite else {}),
            "tasks": tasks,
        },
        runtime=_runtime(evaluation, next(iter(done.values())).computed_by),
        health={name: one.outcome.health for name, one in done.items()},
        details={name: one.outcome.details for name, one in done.items() if one.outcome.details},
        invalid_reasons=reasons,
    )


def _subject(checkpoint: Artifact) -> dict[str, str]:
    """What was scored: the artefact, its weights alone, its chat template."""
    from models.template import ChatTemplate

    files = checkpoint.record["files"]
    weights = [(name, files[name]["sha256"]) for name in files if Path(name).match("*.safetensors") and "/" not in name]
    return {
        "checkpoint_digest": checkpoint.digest,
        "weights_sha256": weights[0][1] if len(weights) == 1 else tree_digest(weights),
        "template_sha256": ChatTemplate.load(checkpoint.path).digest,
    }


def _runtime(evaluation: Evaluation, computed_by: Mapping[str, Any]) -> dict[str, Any]:
    import torch

    here = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {
        **computed_by,
        "versions": {name: version(name) for name in _PACKAGES},
        "dtype": evaluation.dtype,
        "batch_size": evaluation.batch_size,
        "device": "the server's" if evaluation.backend == "server" else here,
        "threads": torch.get_num_threads(),
        **({"thinking_tokens": evaluation.thinking_tokens} if evaluation.thinking_tokens else {}),
    }


def record_metrics(report: Report, done: Mapping[str, Done]) -> dict[str, Any]:
    """What the record keeps beside the report: the scores again, and what the run cost."""
    seconds = sum(one.wall_s for one in done.values())
    tokens = sum(one.outcome.tokens for one in done.values())
    reasons = "; ".join(report.invalid_reasons)
    return {
        "report_id": report.report_id,
        "valid": report.valid,
        "invalid_reasons": list(report.invalid_reasons),
        "results": {name: {**result, "subgroups": {}} for name, result in report.results.items()},
        "tasks": {
            name: {
                "wall_s": one.wall_s,
                "tokens": one.outcome.tokens,
                "tokens_per_s": round(one.outcome.tokens / max(one.wall_s, 1e-3), 1),
            }
            for name, one in done.items()
        },
        "wall_s": round(seconds, 3),
        "tokens": tokens,
        "tokens_per_s": round(tokens / max(seconds, 1e-3), 1),
        "device": report.runtime["device"],
        "threads": report.runtime["threads"],
        "cpus": os.cpu_count() or 1,
        "checks": {
            "report_valid": check(
                report.valid,
                reasons or "valid",
                "Every item scored once, with finite probabilities and answers that are not empty.",
            )
        },
    }


def track(
    log: RunLog,
    checkpoint: Artifact,
    prepared: Mapping[str, Prepared],
    report: Report,
    metrics: Mapping[str, Any],
    work: Path,
) -> None:
    """Scores, costs, settings and the report's files to the job's MLflow run, scores to the checkpoint's model, too."""
    seconds = {f"{name}/wall_s": task["wall_s"] for name, task in metrics["tasks"].items()}
    log.metrics({**report.scores, **seconds, "wall_s": metrics["wall_s"]}, step=0)
    log.params({"suite": report.suite["digest"], **{name: report.runtime[name] for name in ("dtype", "batch_size")}})
    log.tags({"report_id": report.report_id, "valid": report.valid, **report.subject})
    for name, task in prepared.items():
        log.dataset(name, task.facts["data_digest"], work / SAMPLES, len(task.items), context="evaluation")
    log.artifact(work / REPORT)
    log.artifact(work / SAMPLES)
    log.scores(checkpoint, report.scores, report.data_digests)
