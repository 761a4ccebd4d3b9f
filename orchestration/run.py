"""`run`: one recipe's graph, materialized in the instance by this process, with its progress on the terminal.

The run is an ordinary Dagster run: the UI shows it live and afterwards. Each step is a process of its
own, as when launched from the UI. Ctrl-C, and a node that fails, end it cleanly: a trainer
writes a checkpoint and the same command goes on from there.
"""

import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.events import JobFailureData, RunFailureReason

from assets.checkpoints import resolve_stage
from assets.pipeline import Pipeline
from assets.tracking import Tracker
from lineage.store import home_folder
from orchestration.display import Display
from orchestration.home import log_of, prepare_home
from orchestration.liveness import free_slots, hold_run, open_instance
from orchestration.terminal import quiet_terminal
from orchestration.watch import Watch
from orchestration.wiring import build
from recipes.errors import RecipeError


@dataclass(frozen=True)
class Finished:
    """How a run ended: by itself, by a first failure, or by a person.

    failures: message by node. log: what its processes wrote.
    """

    pipeline: Pipeline
    run_id: str
    success: bool
    interrupted: bool
    failures: dict[str, str]
    log: Path


@cache
def recipe_job(path: str) -> dg.JobDefinition:
    """The job of one recipe file; step processes find it again by this function's name."""
    pipeline = Pipeline.load(Path(path))
    return build([pipeline], home_folder()).resolve_job_def(pipeline.name)


def run(
    path: Path,
    run_id: str,
    *,
    force: bool = False,
    select: Sequence[str] = (),
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    quiet: bool = False,
) -> Finished:
    """Materialize the graph of the recipe in `path`, or the selected nodes of it.

    overrides: launch overrides by stage. quiet: no progress. Raises RecipeError, and TrainingError without MLflow,
    before anything runs.
    """
    pipeline = Pipeline.load(path)
    home = prepare_home()
    Tracker(home).check()
    keys = _selected(build([pipeline], home), pipeline, select)
    config = _run_config(pipeline, keys, force, overrides or {})
    job = dg.build_reconstructable_job(__package__ + ".run", "recipe_job", (str(pipeline.path),))
    with open_instance(home) as instance:
        log, stop = log_of(home, run_id), _Stop()
        hold_run(home, run_id, pipeline.name)
        with (
            quiet_terminal(log, quiet) as console,
            Display(instance, run_id, pipeline.name, console, on_failure=stop) as display,
            Watch(instance, home, display.say, run_id, display.say_of),
        ):
            interrupted = _execute(job, instance, run_id, keys, config, stop)
        free_slots(instance, run_id)
        finished = instance.get_run_by_id(run_id)
        success = finished is not None and finished.status is dg.DagsterRunStatus.SUCCESS
        return Finished(pipeline, run_id, success, interrupted, display.failures, log)


class _Stop:
    """Called at the first failure: what is left can come to no decision and is not to compute for minutes more."""

    def __init__(self) -> None:
        self.sent = False
        self.over = False

    def __call__(self) -> None:
        if not self.over:
            self.sent = True
            os.kill(os.getpid(), signal.SIGINT)


def _execute(
    job: Any,
    instance: dg.DagsterInstance,
    run_id: str,
    keys: Sequence[dg.AssetKey],
    config: dict[str, Any],
    stop: _Stop,
) -> bool:
    """Execute the run in this process and its step processes; True if a person interrupted it."""
    from dagster._core.execution.api import create_execution_plan, execute_run

    definition = job.get_definition()
    subset = job.get_subset(asset_selection=frozenset(keys))
    run = instance.create_run_for_job(
        job_def=subset.get_definition(),
        execution_plan=create_execution_plan(subset, run_config=config),
        run_id=run_id,
        run_config=config,
        asset_selection=frozenset(keys),
        job_code_origin=job.get_python_origin(),
        tags=dict(definition.run_tags),
    )
    execute_run(subset, run, instance, raise_on_error=False)
    stop.over = True
    if not _was_interrupted(instance, run_id):
        return False
    if stop.sent:
        failed = JobFailureData(error=None, failure_reason=RunFailureReason.STEP_FAILURE)
        instance.report_run_failed(run, "A node failed, and what was left of the run was stopped.", failed)
        return False
    instance.report_run_canceled(run, "Interrupted from the terminal.")
    return True


def _was_interrupted(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Dagster takes a Ctrl-C for a failure, because nobody asked it through its own interface."""
    ended = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.RUN_FAILURE).records
    failures = [record.event_log_entry.dagster_event for record in ended]
    return any(
        event is not None and event.job_failure_data.failure_reason is RunFailureReason.UNEXPECTED_TERMINATION
        for event in failures
    )


def _selected(definitions: dg.Definitions, pipeline: Pipeline, select: Sequence[str]) -> list[dg.AssetKey]:
    """Asset keys of the nodes named in `select`, all without it; `+` behind a name adds all downstream, before it all
    that it is made from."""
    graph = definitions.resolve_asset_graph()
    if not select:
        return sorted(graph.executable_asset_keys)
    chosen: set[dg.AssetKey] = set()
    for name in select:
        bare = name.removeprefix("+").removesuffix("+")
        key = pipeline.key(*bare.split("/"))
        if not graph.has(key):
            nodes = ", ".join("/".join(known.path[1:]) for known in sorted(graph.get_all_asset_keys()))
            raise RecipeError(f"{pipeline.path}: no node is called '{bare}'; nodes are {nodes}")
        selection = dg.AssetSelection.assets(key)
        chosen |= (selection.downstream() if name.endswith("+") else selection).resolve(graph)
        chosen |= selection.upstream().resolve(graph) if name.startswith("+") else set()
    return sorted(chosen & graph.executable_asset_keys)


def _run_config(
    pipeline: Pipeline, keys: Sequence[dg.AssetKey], force: bool, overrides: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Quiet console (the display speaks), `force` on everything that is made, overrides on stages."""
    unmade = {pipeline.key("registry"), *(pipeline.key("raw", name) for name in pipeline.recipe.sources)}
    ops: dict[str, dict[str, Any]] = {"__".join(key.path): {} for key in keys if key not in unmade}
    if force:
        ops = {op: {"force": True} for op in ops}
    for stage, fields in overrides.items():
        op = "__".join(pipeline.key(stage).path)
        if stage not in pipeline.recipe.stages or op not in ops:
            raise RecipeError(
                f"{pipeline.path}: '{stage}' is no stage of this run; stages: {list(pipeline.recipe.stages)}"
            )
        resolve_stage(pipeline, stage, fields)
        ops[op]["overrides"] = dict(fields)
    return {
        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
        "ops": {op: {"config": config} for op, config in ops.items() if config},
    }
