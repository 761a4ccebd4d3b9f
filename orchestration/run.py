"""`run`: one recipe's graph, materialized in the instance by this process, with its progress on the terminal.

The run is an ordinary Dagster run: the UI shows it live and afterwards. Each step is a process of its
own, as when launched from the UI. Ctrl-C ends it cleanly: a trainer writes a checkpoint and the same
command goes on from there.
"""

import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg

from assets.pipeline import Pipeline
from lineage.job import home_folder
from orchestration.display import Display, quiet_terminal
from orchestration.instance import PROCESS_TAG, free_slots, open_instance, prepare_home, this_process
from orchestration.wiring import build
from recipes.load import SHIPPED, RecipeError


@dataclass(frozen=True)
class Finished:
    """How a run ended. failures: message by node. log: what its processes wrote."""

    pipeline: Pipeline
    run_id: str
    success: bool
    interrupted: bool
    failures: dict[str, str]
    log: Path


def find_recipe(name_or_path: str) -> Path:
    """A recipe file by path, or a shipped one by name. Raises RecipeError."""
    given = Path(name_or_path)
    if given.suffix in (".yaml", ".yml"):
        return given
    shipped = sorted(SHIPPED.glob("*.yaml"))
    for path in shipped:
        if name_or_path in (path.stem, path.stem.replace("-", "_").replace(".", "_")):
            return path
    names = ", ".join(path.stem for path in shipped)
    raise RecipeError(f"no recipe is called '{name_or_path}'; shipped are {names}; another one by its path (….yaml)")


@cache
def recipe_job(path: str) -> dg.JobDefinition:
    """The job of one recipe file; step processes find it again by this function's name."""
    pipeline = Pipeline.load(Path(path))
    return build([pipeline], home_folder()).resolve_job_def(pipeline.name)


def run(path: Path, *, force: bool = False, select: Sequence[str] = ()) -> Finished:
    """Materialize the graph of the recipe in `path`, or the selected nodes of it. Raises RecipeError."""
    pipeline = Pipeline.load(path)
    home = prepare_home()
    os.environ["TEMPER_PRELOAD_RECIPE"] = str(pipeline.path)
    keys = _selected(build([pipeline], home), pipeline, select)
    job = dg.build_reconstructable_job(__package__ + ".run", "recipe_job", (str(pipeline.path),))
    with open_instance(home) as instance:
        run_id = str(uuid.uuid4())
        log = home / "runs" / f"{run_id}.log"
        with quiet_terminal(log) as console, Display(instance, run_id, pipeline.name, console) as display:
            interrupted = _execute(job, instance, run_id, keys, _run_config(pipeline, keys, force))
        free_slots(instance, run_id)
        finished = instance.get_run_by_id(run_id)
        success = finished is not None and finished.status is dg.DagsterRunStatus.SUCCESS
        return Finished(pipeline, run_id, success, interrupted, display.failures, log)


def _execute(
    job: Any, instance: dg.DagsterInstance, run_id: str, keys: Sequence[dg.AssetKey], config: dict[str, Any]
) -> bool:
    """Execute the run in this process and its step processes; True if it was interrupted."""
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
        tags={**definition.run_tags, PROCESS_TAG: this_process()},
    )
    try:
        execute_run(subset, run, instance, raise_on_error=False)
    except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
        return True
    ended = instance.get_run_by_id(run_id)
    return ended is not None and ended.status is dg.DagsterRunStatus.CANCELED


def _selected(definitions: dg.Definitions, pipeline: Pipeline, select: Sequence[str]) -> list[dg.AssetKey]:
    """Asset keys of the nodes named in `select`, all without it; a trailing `+` adds everything downstream."""
    graph = definitions.resolve_asset_graph()
    if not select:
        return sorted(graph.executable_asset_keys)
    chosen: set[dg.AssetKey] = set()
    for name in select:
        key = pipeline.key(*name.rstrip("+").split("/"))
        if not graph.has(key):
            nodes = ", ".join("/".join(known.path[1:]) for known in sorted(graph.get_all_asset_keys()))
            raise RecipeError(f"{pipeline.path}: no node is called '{name.rstrip('+')}'; nodes are {nodes}")
        selection = dg.AssetSelection.assets(key)
        chosen |= (selection.downstream() if name.endswith("+") else selection).resolve(graph)
    return sorted(chosen)


def _run_config(pipeline: Pipeline, keys: Sequence[dg.AssetKey], force: bool) -> dict[str, Any]:
    """Quiet console (the display speaks), and `force` on everything that is made."""
    unmade = {pipeline.key("registry"), *(pipeline.key("raw", name) for name in pipeline.recipe.sources)}
    ops = {"__".join(key.path): {"config": {"force": True}} for key in keys if key not in unmade}
    return {
        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
        **({"ops": ops} if force else {}),
    }
