"""How an artefact comes to be: found sealed, made in this step's process, or made by a job process.

Here a node becomes an asset, once for all of them. With `force` its artefact is made even if it is there, and takes the
old one's place when it is sealed, but never that of an artefact that a registered version rests on: this one stays, and
bytes that differ from it are a failure.

All end alike: a handle, its ref moved (never by an override, never past a failed check), and a
link to the MLflow run that made it.
"""

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import dagster as dg
from pydantic import Field

from assets.addresses import mlflow_path, page_path
from assets.handles import ARTEFACT, Delivered, delivered, specs
from assets.pages import has_page
from assets.pipeline import Pipeline
from assets.tracking import Tracker
from corpora.work.progress import told_to
from evaluation.registry.resting import rests_on
from jobs.job import Job, JobInput
from lineage.node import Given, Node
from lineage.store import Artifact, Kept, Store
from recipes.errors import DONE, INTERRUPTED, REFUSED, TemperError

GPU = "gpu"
"""The pool of everything that trains or evaluates; one slot by default, so that jobs do not share a device."""

AUTOMATIC = dg.AutomationCondition.eager() & dg.AutomationCondition.all_deps_blocking_checks_passed()


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


class Rebuild(dg.Config):
    """Launch options of a node without hyper-parameters."""

    force: bool = Field(default=False, description="make the artefact again even if it is there")


class Launch(Rebuild):
    """Launch options of a training stage: few fields, each with a scalar default, checked in the first second."""

    overrides: dict[str, Any] = Field(default={}, description="fields of the stage, as in the recipe")
    max_steps: int = Field(default=0, description="end after this many steps; 0: as the recipe says")

    @property
    def asked(self) -> dict[str, Any]:
        return {**self.overrides, **({"max_steps": self.max_steps} if self.max_steps else {})}


def asset_of(pipeline: Pipeline, node: Node) -> dg.AssetsDefinition:
    """A node as Dagster sees it."""
    upstream = {name.replace("/", "__"): name for name in node.upstream}

    def made(
        context: dg.AssetExecutionContext,
        config: Rebuild,
        store: dg.ResourceParam[Store],
        tracker: dg.ResourceParam[Tracker],
        launcher: dg.ResourceParam[Launcher],
        **handles: Artifact,
    ) -> Delivered:
        with plain_failures():
            asked = node.asked(config.asked) if isinstance(config, Launch) else node
            artefacts = {name: handles[parameter] for parameter, name in upstream.items()}
            given = asked.settled(Given(store, artefacts, tracker.uri))
            artifact = found_or_made(context, tracker, launcher, asked, given, force=config.force)
            metadata = asked.shown(given, artifact)
        return delivered(asked.checks, artifact, metadata=metadata, links=links(tracker, artifact))

    made.__annotations__["config"] = Launch if node.launchable else Rebuild
    asset: dg.AssetsDefinition = dg.asset(
        key=pipeline.key(*node.name.split("/")),
        group_name=pipeline.name,
        description=node.description,
        kinds=set(node.formats),
        owners=pipeline.owners,
        code_version=node.code_version,
        check_specs=specs(node.checks, pipeline.key(*node.name.split("/"))),
        ins={parameter: dg.AssetIn(key=pipeline.key(*name.split("/"))) for parameter, name in upstream.items()},
        deps=[pipeline.key(*name.split("/")) for name in node.observes],
        dagster_type=ARTEFACT,
        pool=GPU if node.gpu else None,
        automation_condition=AUTOMATIC if node.automatic else None,
    )(made)
    return asset


def found_or_made(
    context: dg.AssetExecutionContext, tracker: Tracker, launcher: Launcher, node: Node, given: Given, *, force: bool
) -> Artifact:
    """The artefact of a node, whichever way it comes to be."""
    if (instead := node.stands_in(given)) is not None:
        given.store.point(node.name, instead)
        return instead
    if node.job is not None:
        return make_by_job(context, given.store, tracker, launcher, job_of(node, given), force=force)
    return _make_here(context, tracker, node, given, force)


def job_of(node: Node, given: Given) -> Job:
    """The job that makes a node's artefact."""
    request = node.request(given)
    return Job.model_validate(
        {
            "kind": node.job,
            "recipe": node.recipe,
            "node": node.folder,
            "ref": node.name,
            "home": given.store.home,
            "payload": request.payload,
            "overridden": request.overridden,
            "config": node.config(given),
            "execution": node.execution(),
            "inputs": {role: JobInput.of(artifact) for role, artifact in node.takes(given).items()},
        }
    )


@contextmanager
def plain_failures() -> Iterator[None]:
    """Turn the errors that a person can mend into `dg.Failure` with the message alone, and no retry."""
    try:
        yield
    except TemperError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from None


def _make_here(context: dg.AssetExecutionContext, tracker: Tracker, node: Node, given: Given, force: bool) -> Artifact:
    """`store.build` with an MLflow run around the making."""
    request, config = node.request(given), node.config(given)
    inputs: dict[str, str] = request.payload["inputs"]

    def tracked(work: Path) -> dict[str, Any]:
        with tracker.run(context, request, config=config, inputs=inputs) as run:
            with told_to(context.log.info):
                metrics = node.make(given, work)
            for name in node.logged:
                run.artifact(work / name)
            run.log(metrics)
            return metrics

    return given.store.build(
        request,
        tracked,
        config=config,
        inputs=inputs,
        ref=node.name,
        force=force,
        kept=_kept(tracker, given.store),
        informative=node.informative,
        unfinished=node.unfinished,
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
