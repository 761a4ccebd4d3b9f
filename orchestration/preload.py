"""What every step needs, imported once in the process that steps are forked from: a step then starts in half a second.

MLflow starts no threads with telemetry off, and no database is opened here, so that forking is safe.
"""

import importlib
import os
from pathlib import Path

RECIPE = "TEMPER_PRELOAD_RECIPE"
"""Environment variable: the recipe file whose job will be run; the whole code location without it."""

_LATE = (
    "alembic.command",
    "dagster._core.execution.api",
    "dagster._core.launcher.default_run_launcher",
    "dagster._core.storage.event_log.sqlite",
    "dagster._core.storage.local_compute_log_manager",
    "dagster._core.storage.runs.sqlite",
    "dagster._core.storage.schedules.sqlite",
    "mlflow",
    "sqlalchemy.dialects.sqlite",
    "upath",
)
"""What Dagster and MLflow import only when used: 0.8 s of every step otherwise."""


def preload() -> None:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    for module in _LATE:
        importlib.import_module(module)
    recipe = os.environ.get(RECIPE)
    if recipe is None:
        importlib.import_module("orchestration.definitions")
    elif Path(recipe).is_file():
        importlib.import_module("orchestration.run").recipe_job(recipe)


preload()
