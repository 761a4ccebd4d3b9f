"""The Dagster instance in the state folder, and what dead processes leave in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import psutil

PROCESS_TAG = "temper/process"
"""Run tag of `python -m orchestration run`: pid and start time of the process that executes the run."""


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
