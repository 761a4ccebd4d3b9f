"""From recipe files to Dagster definitions: a graph, a job and a schedule for every recipe.

Recipes are the YAML files in `recipes/` and in the folder that `TEMPER_RECIPES` names, if it does.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from assets.graph import graph
from assets.handles import Handles
from assets.pipeline import Pipeline
from assets.tracking import Tracker
from lineage.store import Store
from orchestration.executor import EXECUTOR
from orchestration.launcher import LocalLauncher
from recipes.errors import RecipeError
from recipes.load import SHIPPED
from recipes.schema import Schedule


def recipe_files() -> list[Path]:
    """All recipe files. Raises RecipeError if `TEMPER_RECIPES` is no folder."""
    folders = [SHIPPED]
    if own := os.environ.get("TEMPER_RECIPES"):
        folders.append(Path(own))
    for folder in folders:
        if not folder.is_dir():
            raise RecipeError(f"TEMPER_RECIPES: {folder} is not a folder")
    return [path for folder in folders for path in sorted(folder.glob("*.yaml"))]


def load_pipelines(files: Sequence[Path]) -> list[Pipeline]:
    """Pipelines of these recipe files. Raises RecipeError at the first that is not valid or has a taken name."""
    pipelines: dict[str, Pipeline] = {}
    for path in files:
        pipeline = Pipeline.load(path)
        if other := pipelines.get(pipeline.name):
            raise RecipeError(f"{path}: a second recipe called '{pipeline.name}', after {other.path}")
        pipelines[pipeline.name] = pipeline
    return list(pipelines.values())


def build(pipelines: Sequence[Pipeline], home: Path) -> dg.Definitions:
    """Definitions for these pipelines with state in `home`."""
    store = Store(home)
    return dg.Definitions(
        assets=[asset for pipeline in pipelines for asset in graph(pipeline)],
        jobs=[_job(pipeline) for pipeline in pipelines],
        schedules=[_schedule(p, p.recipe.schedule) for p in pipelines if p.recipe.schedule is not None],
        resources={
            "io_manager": Handles(store),
            "store": store,
            "tracker": Tracker(home),
            "launcher": LocalLauncher(home),
        },
        executor=EXECUTOR,
    )


def _job(pipeline: Pipeline) -> Any:
    """Observe the sources and materialize the whole graph of a recipe."""
    raw = [pipeline.key("raw", name) for name in pipeline.recipe.sources]
    selection = dg.AssetSelection.groups(pipeline.name) | dg.AssetSelection.assets(*raw)
    return dg.define_asset_job(pipeline.name, selection, description=pipeline.recipe.description)


def _schedule(pipeline: Pipeline, schedule: Schedule) -> dg.ScheduleDefinition:
    status = dg.DefaultScheduleStatus.RUNNING if schedule.running else dg.DefaultScheduleStatus.STOPPED
    return dg.ScheduleDefinition(
        name=f"{pipeline.name}_schedule",
        job_name=pipeline.name,
        cron_schedule=schedule.cron,
        execution_timezone=schedule.timezone,
        default_status=status,
        description=f"Runs {pipeline.name} again; what has not changed is reused.",
    )
