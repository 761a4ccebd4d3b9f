"""The job that scores one checkpoint by one suite and seals the report.

All tasks are prepared before the model is loaded, the model is loaded once, each finished task is kept in the work
folder and each answer in the cache (`models.answered`): an evaluation that was stopped or killed goes on
where it was, to the same report. One that is refused keeps its finished tasks, too: what it lacked may be there the
next time.
What becomes of the outcomes is `evaluation.assembly`'s.
"""

import dataclasses
import json
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from evaluation import tasks
from evaluation.assembly import Done, build_report, record_metrics, track
from evaluation.health import THOUGHT_ONLY
from evaluation.report import write_report
from evaluation.suite import suite_identity
from evaluation.task import Outcome, Place, Prepared
from jobs import memory, runner
from jobs.job import Job
from jobs.progress import Progress, say
from jobs.run_log import RunLog
from lineage.errors import EvaluationError, Interrupted
from lineage.files import write_json
from models.answered import Answered
from models.answering import LoadedModel
from models.endpoint import Endpoint
from models.local import load_model
from models.served import connect
from models.serving import command, launched
from recipes.errors import DONE
from recipes.execution import EvaluationExecution
from recipes.suite import Evaluation

_TASKS = "tasks"

_KEPT = runner.Kept(_TASKS, lambda folder: any(folder.glob("*.json")))
"""What another attempt need not do again: finished tasks."""


def main(job_file: Path, stop: threading.Event) -> int:
    """Do the job in `job_file`; returns its exit status."""
    return runner.status_of(lambda: _do(runner.read(job_file), stop))


def run(job: Job, stop: threading.Event) -> int:
    """Do the job; returns its exit status."""
    return runner.status_of(lambda: _do(job, stop))


def _do(job: Job, stop: threading.Event) -> int:
    if job.kind != "evaluate":
        raise EvaluationError(f"kind {job.kind}: not an evaluation; run it with python -m training")
    return DONE if runner.is_there(job) else runner.make(job, evaluate, stop, _KEPT)


def evaluate(job: Job, work: Path, log: RunLog, stop: threading.Event) -> dict[str, Any]:
    """Score the job's checkpoint and write the report; returns the record's metrics. Raises Interrupted at a stop."""
    evaluation = Evaluation.model_validate(job.config["suite"])
    folder, cache = Path(job.config["folder"]), Path(job.config["cache"])
    if evaluation.backend in ("vllm", "sglang"):
        command(evaluation.backend)
    suite = suite_identity(evaluation, folder, cache)
    if suite != job.payload["suite"]:
        raise EvaluationError("the suite or its data changed after this job was written; launch it again")
    checkpoint = job.store.open(job.inputs["checkpoint"].path)
    kept = work / _TASKS
    prepared = {
        name: tasks.prepare(name, task, Place(folder, cache, _scratch(kept, name)))
        for name, task in evaluation.tasks.items()
    }
    done = _run_tasks(job, evaluation, prepared, kept, stop)
    report = build_report(checkpoint, evaluation, suite, prepared, done)
    write_report(work, report)
    metrics = record_metrics(report, done)
    track(log, checkpoint, prepared, report, metrics, work)
    scores = " · ".join(f"{name} {result['mean']:.3f}" for name, result in report.results.items())
    say(f"{job.ref}: {scores}" if report.valid else f"{job.ref}: not valid: {'; '.join(report.invalid_reasons)}")
    for name, counts in report.health.items():
        if alone := counts.get(THOUGHT_ONLY):
            most = evaluation.thinking_tokens
            say(f"{job.ref}: {name}: {alone} answers are thoughts alone; thinking_tokens is {most}")
    return metrics


def _scratch(kept: Path, name: str) -> Path:
    """An empty folder for one task, dropped when the report is sealed."""
    folder = kept / f"{name}.scratch"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _run_tasks(
    job: Job, evaluation: Evaluation, prepared: Mapping[str, Prepared], kept: Path, stop: threading.Event
) -> dict[str, Done]:
    """Every task's outcome, from the work folder where an earlier attempt left it."""
    files = {name: kept / f"{name}.json" for name in prepared}
    done = {name: _read(file) for name, file in files.items() if file.is_file()}
    with ExitStack() as stack:
        model: LoadedModel | None = None
        if len(done) < len(prepared):
            model = stack.enter_context(_loaded(job, evaluation, kept, stop))
            _refuse_what_cannot_fit(prepared, model)
        for name, task in prepared.items():
            if model is None or (name in done and done[name].computed_by == model.facts):
                continue
            _set_seed(evaluation.seed)
            progress = Progress(f"{job.ref} {name}", len(task.items), task.unit)

            def tick(count: int, progress: Progress = progress) -> None:
                if stop.is_set():
                    raise Interrupted(f"{progress.label}: stopped at {count} of {progress.total} {progress.unit}")
                progress.update(count)

            started = time.monotonic()
            try:
                with memory.explained(
                    f"with evaluation.batch_size {evaluation.batch_size}; a smaller one needs less", EvaluationError
                ):
                    outcome = task.run(model, tick)
            except EvaluationError as error:
                raise EvaluationError(f"evaluation.tasks.{name}: {error}") from None
            done[name] = Done(outcome, round(time.monotonic() - started, 3), model.facts)
            write_json(files[name], dataclasses.asdict(done[name]))
        if model and model.known:
            say(f"{job.ref}: {model.known} answers were known from before")
    return {name: done[name] for name in prepared}


def _refuse_what_cannot_fit(prepared: Mapping[str, Prepared], model: LoadedModel) -> None:
    """Raise EvaluationError, before any task has asked anything, for one whose answers leave no room for a prompt."""
    for name, task in prepared.items():
        asked = getattr(task, "max_new_tokens", None)
        if asked is not None and asked >= model.context:
            raise EvaluationError(
                f"evaluation.tasks.{name}.max_new_tokens: {asked} new tokens leave no room for a prompt in the model's "
                f"context of {model.context} tokens; lower it"
            )


def _read(file: Path) -> Done:
    saved = json.loads(file.read_text(encoding="utf-8"))
    return Done(Outcome(**saved["outcome"]), saved["wall_s"], saved["computed_by"])


@contextmanager
def _loaded(job: Job, evaluation: Evaluation, kept: Path, stop: threading.Event) -> Iterator[LoadedModel]:
    """The checkpoint, ready to answer, by the back end that the recipe names."""
    given, answers = job.inputs["checkpoint"], Path(job.config["cache"]) / "answers"
    execution = EvaluationExecution.model_validate(job.execution)
    evaluation = evaluation.model_copy(update={"execution": execution})

    def met(endpoint: Endpoint, name: str) -> LoadedModel:
        return connect(endpoint, name, given.path, given.digest, evaluation, answers)

    def alive() -> None:
        if stop.is_set():
            raise Interrupted(f"{job.ref}: stopped while its server started")

    if evaluation.backend == "transformers":
        yield _in_this_process(job, evaluation, answers)
    elif evaluation.backend == "server":
        where = "evaluation.execution.server"
        endpoint = Endpoint.of(where, execution.server, evaluation.batch_size, "TEMPER_SERVER_URL")
        name = execution.server.model.replace("{checkpoint}", given.digest)
        yield met(endpoint, name.replace("{name}", job.ref.rpartition("/")[2]))
    else:
        with launched(given.path, given.digest, evaluation, kept / "server.log", alive) as endpoint:
            yield met(endpoint, given.digest)


def _in_this_process(job: Job, evaluation: Evaluation, answers: Path) -> LoadedModel:
    import torch

    if evaluation.execution.threads is not None:
        torch.set_num_threads(evaluation.execution.threads)
    given = job.inputs["checkpoint"]
    with memory.explained("while the checkpoint was loaded; bfloat16 needs less than float32", EvaluationError):
        model = load_model(given.path, evaluation.dtype, evaluation.batch_size)
    known = Answered.of(answers, given.digest, evaluation.dtype, str(model.model.device))
    return dataclasses.replace(model, answered=known, thinking_tokens=evaluation.thinking_tokens)


def _set_seed(seed: int) -> None:
    from transformers import set_seed

    set_seed(seed)
