"""How an artefact comes to be: found sealed, made in this step's process, or made by a job process.

With `force` it is made even if it is there, and takes the old one's place when it is sealed, but never that of an
artefact that a registered version rests on: this one stays, and bytes that differ from it are a failure.

All three end alike: a handle, its ref moved (never by an override, never past a failed check), and a
link to the MLflow run that made it.
"""

import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import dagster as dg

from assets.addresses import mlflow_path, page_path
from assets.pages import has_page
from assets.tracking import TrackedRun, Tracker
from corpora.work.progress import told_to
from evaluation.registry.resting import rests_on
from jobs.job import Job
from lineage.store import Artifact, Kept, Request, Store
from recipes.errors import DONE, INTERRUPTED, REFUSED

_RETRIES = 1
"""A crashed job is tried once more, from its newest verified checkpoint. Not by a RetryPolicy: Dagster would
then try again what a person terminated."""


_ERROR = "error: "
"""How the message begins that a job ends with when it refuses its input, or cannot go on."""


class Ended(NamedTuple):
    """How a job process ended: its exit status (negative: minus the signal) and the last lines that it wrote."""

    status: int
    stdout: str
    stderr: str


class Launcher(Protocol):
    """Runs a command in a process tree of its own, and leaves none of it behind."""

    def run(self, context: dg.AssetExecutionContext, command: Sequence[str], *, grace_seconds: float) -> Ended: ...


def make_here(
    context: dg.AssetExecutionContext,
    store: Store,
    tracker: Tracker,
    request: Request,
    make: Callable[[Path, TrackedRun], dict[str, Any]],
    *,
    config: dict[str, Any],
    inputs: Mapping[str, str],
    ref: str,
    force: bool,
    informative: tuple[str, ...] = (),
    unfinished: str | None = None,
) -> Artifact:
    """`store.build` with an MLflow run around the making."""

    def tracked(work: Path) -> dict[str, Any]:
        with tracker.run(context, request, config=config, inputs=inputs) as run:
            with told_to(context.log.info):
                metrics = make(work, run)
            run.log(metrics)
            return metrics

    return store.build(
        request,
        tracked,
        config=config,
        inputs=dict(inputs),
        ref=ref,
        force=force,
        kept=_kept(tracker, store),
        informative=informative,
        unfinished=unfinished,
        tell=context.log.info,
    )


def make_by_job(
    context: dg.AssetExecutionContext, store: Store, tracker: Tracker, launcher: Launcher, job: Job, *, force: bool
) -> Artifact:
    """The artefact of a job: found, or made by `python -m training|evaluation job.json`.

    Raises dg.Failure when the job refused its input, dg.RetryRequested when it crashed.
    """
    with store.turn(job.request, context.log.info):
        artifact = _found_or_made(context, store, tracker, launcher, job, force)
    store.point(job.ref, artifact)
    return artifact


def _found_or_made(
    context: dg.AssetExecutionContext, store: Store, tracker: Tracker, launcher: Launcher, job: Job, force: bool
) -> Artifact:
    artifact = None if force else store.find(job.request)
    if artifact is None:
        inputs = {name: given.digest for name, given in job.inputs.items()}
        with tracker.run(context, job.request, config=job.config, inputs=inputs) as run:
            path = job.model_copy(update={"tracking": run.tracking, "again": force}).write()
            module = "evaluation" if job.kind == "evaluate" else "training"
            grace = float(job.execution["grace_seconds"])
            ended = launcher.run(context, [sys.executable, "-m", module, str(path)], grace_seconds=grace)
            artifact = _sealed(store, job, ended, _kept(tracker, store) if force else None)
    return artifact


def links(tracker: Tracker, artifact: Artifact) -> dict[str, str]:
    """To the artefact's page, if it has one, and to the MLflow run that made it, if one did here."""
    page = {"page": page_path(artifact.recipe, artifact.node, artifact.fingerprint)} if has_page(artifact.node) else {}
    run = {"mlflow": mlflow_path(artifact.fingerprint)} if tracker.url(artifact.fingerprint) else {}
    return page | run


def _kept(tracker: Tracker, store: Store) -> Kept:
    return lambda artifact: rests_on(tracker.uri, store.home, artifact)


def _sealed(store: Store, job: Job, ended: Ended, kept: Kept | None) -> Artifact:
    """What the job sealed; with `kept` it was sealed again, and what must stay stays."""
    who = f"{job.recipe}/{job.ref}"
    if ended.status == DONE:
        if kept is not None:
            return store.settle(job.request, kept)
        artifact = store.find(job.request, reused=False)
        if artifact is not None:
            return artifact
        raise dg.Failure(f"{who}: the job reported success but sealed nothing", allow_retries=False)
    if ended.status == REFUSED:
        raise dg.Failure(ended.stdout.rpartition(_ERROR)[2].strip(), allow_retries=False)
    how = "was stopped" if ended.status == INTERRUPTED else f"failed with exit status {ended.status}"
    if ended.status == -signal.SIGKILL:
        how = "was killed, as the system does when memory runs out (a smaller execution.micro_batch takes less),"
    raise dg.RetryRequested(max_retries=_RETRIES) from dg.Failure(
        f"{who}: the job {how} and resumes when run again: {_why(ended)}",
        metadata={"stderr": ended.stderr},
    )


def _why(ended: Ended) -> str:
    """The message that a job ended with, if it came to give one; libraries may have written on stderr before it."""
    said = _last_line(ended.stdout)
    return said.removeprefix(_ERROR) if said.startswith(_ERROR) else _last_line(ended.stderr, ended.stdout)


def _last_line(*outputs: str) -> str:
    """The last line of the first output that has one: a job says there why it ended."""
    return next((text.strip().rpartition("\n")[2] for text in outputs if text.strip()), "it wrote nothing")
