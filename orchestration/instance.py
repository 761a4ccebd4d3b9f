"""The state folder (`TEMPER_HOME`) and the Dagster instance in it; the telemetry of every library off."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import psutil

from lineage.job import home_folder

_SHIPPED = Path(__file__).with_name("dagster.yaml")
_QUIET = {
    "DAGSTER_DISABLE_TELEMETRY": "yes",
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
PRELOAD_RECIPE = "TEMPER_PRELOAD_RECIPE"
"""Environment variable for `orchestration.preload`: the recipe file whose job will be run."""

PROCESS_TAG = "temper/process"
"""Run tag of `python -m orchestration run`: pid and start time of the process that executes the run."""


def prepare_home() -> Path:
    """Make the state folder usable, point this process and its children at it, and return it."""
    home = home_folder()
    dagster_home = home / "dagster"
    dagster_home.mkdir(parents=True, exist_ok=True)
    if not (dagster_home / "dagster.yaml").is_file():
        shutil.copyfile(_SHIPPED, dagster_home / "dagster.yaml")
    os.environ.update(_QUIET, TEMPER_HOME=str(home), DAGSTER_HOME=str(dagster_home))
    return home


@contextmanager
def open_instance(home: Path) -> Iterator[dg.DagsterInstance]:
    """The instance of a prepared home, rid of what dead processes left in it."""
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        _bury_dead_runs(instance)
        yield instance


def this_process() -> str:
    return _identity(psutil.Process())


def free_slots(instance: dg.DagsterInstance, run_id: str) -> None:
    """Give back the pool slots of a run that has ended; the daemon does it too, where one runs."""
    instance.event_log_storage.free_concurrency_slots_for_run(run_id)


def _bury_dead_runs(instance: dg.DagsterInstance) -> None:
    """Fail the runs whose `run` command was killed, and free the slots of every run that has ended."""
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
        process = run.tags.get(PROCESS_TAG)
        if process is not None and not _lives(process):
            instance.report_run_failed(run, "The process that executed this run is gone.")
    for run_id in instance.event_log_storage.get_concurrency_run_ids():
        ended = instance.get_run_by_id(run_id)
        if ended is None or ended.is_finished:
            free_slots(instance, run_id)


def _lives(identity: str) -> bool:
    try:
        return _identity(psutil.Process(int(identity.partition("-")[0]))) == identity
    except psutil.NoSuchProcess:
        return False


def _identity(process: psutil.Process) -> str:
    return f"{process.pid}-{process.create_time():.2f}"
