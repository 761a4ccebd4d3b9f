"""The job that scores one checkpoint by one suite and seals the report.

All tasks are prepared before the model is loaded, the model is loaded once, and each finished task is
kept in the work folder: an evaluation that was stopped goes on with the first task it had not finished.
What a run costs (seconds, tokens per second) goes into the record; the report itself holds only what is
the same every time.
"""

import dataclasses
import json
import os
import threading
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from corpora.sources import CorpusError
from evaluation import health, ifeval, mmlu, refusal, verifier
from evaluation.generation import LoadedModel, load_model
from evaluation.report import REPORT, SAMPLES, EvaluationError, Report, write_report
from evaluation.suite import suite_identity
from evaluation.task import Outcome, Place, Prepared
from lineage.hashing import fingerprint, tree_digest
from lineage.job import FAILED, INTERRUPTED, REFUSED, SEALED, Job
from lineage.store import StoreError, write_json
from recipes.schema import Evaluation, Execution, Task
from training import TrainingError
from training.progress import Progress, reporting, say
from training.tracking import RunLog, run_log

_TASKS = "tasks"
_PACKAGES = ("torch", "transformers", "tokenizers", "lm_eval", "nltk", "langdetect", "reasoning-gym")


class Interrupted(Exception):
    """The job was told to stop; finished tasks are kept."""


def run(job: Job, stop: threading.Event) -> int:
    """Do the job and return its exit code; what went wrong is said in one line."""
    try:
        with reporting():
            evaluate(job, stop)
    except Interrupted:
        say(f"{job.ref}: stopped; the same job goes on with the task that it was at")
        return INTERRUPTED
    except (EvaluationError, CorpusError, TrainingError) as error:
        say(f"error: {error}")
        return REFUSED
    except StoreError as error:
        say(f"error: {error}")
        return FAILED
    return SEALED


def evaluate(job: Job, stop: threading.Event) -> None:
    """Score the job's checkpoint and seal the report. Raises Interrupted when `stop` is set."""
    found = job.store.find(job.request)
    if found is not None:
        job.store.point(job.ref, found)
        return
    evaluation = Evaluation.model_validate(job.config["suite"])
    folder, cache = Path(job.config["folder"]), Path(job.config["cache"])
    suite = suite_identity(evaluation, folder, cache)
    if suite != job.payload["suite"]:
        raise EvaluationError("the suite or its data changed after this job was written; launch it again")
    with job.store.building(job.request) as work, run_log(job.tracking) as log:
        kept = work / _TASKS
        prepared = {
            name: _prepare(name, task, Place(folder, cache, _scratch(kept, name)))
            for name, task in evaluation.tasks.items()
        }
        done = _run_tasks(job, evaluation, prepared, kept, stop)
        report = _report(job, evaluation, suite, prepared, done)
        write_report(work, report)
        metrics = _metrics(job, report, done)
        _track(log, job, prepared, report, metrics, work)
        artifact = job.store.seal(
            job.request,
            config={**job.config, "execution": job.execution},
            metrics=metrics,
            inputs={name: given.digest for name, given in job.inputs.items()},
            drop=(_TASKS,),
        )
        job.store.point(job.ref, artifact)
    scores = " · ".join(f"{name} {result['mean']:.3f}" for name, result in report.results.items())
    say(f"{job.ref}: {scores}" if report.valid else f"{job.ref}: not valid: {'; '.join(report.invalid_reasons)}")


@dataclasses.dataclass(frozen=True)
class _Done:
    outcome: Outcome
    wall_s: float


def _prepare(name: str, task: Task, place: Place) -> Prepared:
    match task.kind:
        case "ifeval":
            return ifeval.prepare(name, task, place)
        case "mmlu":
            return mmlu.prepare(name, task, place)
        case "verifier":
            return verifier.prepare(name, task, place)
        case "refusal":
            return refusal.prepare(name, task, place)


def _scratch(kept: Path, name: str) -> Path:
    """An empty folder for one task, dropped when the report is sealed."""
    import shutil

    folder = kept / f"{name}.scratch"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _run_tasks(
    job: Job, evaluation: Evaluation, prepared: Mapping[str, Prepared], kept: Path, stop: threading.Event
) -> dict[str, _Done]:
    """Every task's outcome, from the work folder where an earlier attempt left it."""
    files = {name: kept / f"{name}.json" for name in prepared}
    model: LoadedModel | None = None
    done = {}
    for name, task in prepared.items():
        if not files[name].is_file():
            model = model or _load(job, evaluation)
            _set_seed(evaluation.seed)
            progress = Progress(f"{job.ref} {name}", len(task.items), task.unit)

            def tick(count: int, progress: Progress = progress) -> None:
                if stop.is_set():
                    raise Interrupted
                progress.update(count)

            started = time.monotonic()
            outcome = task.run(model, tick)
            write_json(
                files[name], {"outcome": dataclasses.asdict(outcome), "wall_s": round(time.monotonic() - started, 3)}
            )
        saved = json.loads(files[name].read_text(encoding="utf-8"))
        done[name] = _Done(Outcome(**saved["outcome"]), saved["wall_s"])
    return done


def _load(job: Job, evaluation: Evaluation) -> LoadedModel:
    import torch

    threads = Execution.model_validate(job.execution).threads
    if threads is not None:
        torch.set_num_threads(threads)
    return load_model(job.inputs["checkpoint"].path, evaluation.dtype, evaluation.batch_size)


def _set_seed(seed: int) -> None:
    from transformers import set_seed

    set_seed(seed)


def _report(
    job: Job,
    evaluation: Evaluation,
    suite: Mapping[str, Any],
    prepared: Mapping[str, Prepared],
    done: Mapping[str, _Done],
) -> Report:
    reasons = [
        problem
        for name, task in prepared.items()
        for problem in health.problems(name, len(task.items), done[name].outcome)
    ]
    tasks = {name: {**suite["tasks"][name], **task.facts, "items": len(task.items)} for name, task in prepared.items()}
    return Report.from_samples(
        [sample for one in done.values() for sample in one.outcome.samples],
        subject=_subject(job),
        suite={"digest": fingerprint(suite), "version": suite["version"], "tasks": tasks},
        runtime=_runtime(evaluation),
        health={name: one.outcome.health for name, one in done.items()},
        invalid_reasons=reasons,
    )


def _subject(job: Job) -> dict[str, str]:
    """What was scored: the artefact, its weights alone, its chat template."""
    from corpora.rendering import ChatTemplate

    checkpoint = job.inputs["checkpoint"]
    files = job.store.open(checkpoint.path).record["files"]
    weights = [(name, files[name]["sha256"]) for name in files if Path(name).match("*.safetensors") and "/" not in name]
    return {
        "checkpoint_digest": checkpoint.digest,
        "weights_sha256": weights[0][1] if len(weights) == 1 else tree_digest(weights),
        "template_sha256": ChatTemplate.load(checkpoint.path).digest,
    }


def _runtime(evaluation: Evaluation) -> dict[str, Any]:
    import torch

    return {
        "backend": "transformers",
        "versions": {name: version(name) for name in _PACKAGES},
        "dtype": evaluation.dtype,
        "batch_size": evaluation.batch_size,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "threads": torch.get_num_threads(),
    }


def _metrics(job: Job, report: Report, done: Mapping[str, _Done]) -> dict[str, Any]:
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
            "report_valid": {
                "passed": report.valid,
                "blocking": True,
                "value": reasons or "valid",
                "description": "Every item scored once, with finite probabilities and answers that are not empty.",
            }
        },
    }


def _track(
    log: RunLog, job: Job, prepared: Mapping[str, Prepared], report: Report, metrics: Mapping[str, Any], work: Path
) -> None:
    """Scores, costs, settings and the report's files to the job's MLflow run."""
    scores = {name: result["mean"] for name, result in report.results.items()}
    errors = {f"{name}_se": result["se"] for name, result in report.results.items()}
    seconds = {f"{name}/wall_s": task["wall_s"] for name, task in metrics["tasks"].items()}
    log.metrics({**scores, **errors, **seconds, "wall_s": metrics["wall_s"]}, step=0)
    log.params({"suite": report.suite["digest"], **{name: report.runtime[name] for name in ("dtype", "batch_size")}})
    log.tags({"report_id": report.report_id, "valid": report.valid, **report.subject})
    for name, task in prepared.items():
        log.dataset(name, task.facts["data_digest"], work / SAMPLES, len(task.items), context="evaluation")
    log.artifact(work / REPORT)
    log.artifact(work / SAMPLES)
