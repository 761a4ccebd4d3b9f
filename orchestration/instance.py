"""The Dagster instance in the state folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from filelock import FileLock

from lineage.holding import tell_on_stderr
from orchestration.liveness import end_dead_runs


@contextmanager
def open_instance(home: Path) -> Iterator[dg.DagsterInstance]:
    """The instance of a prepared home, rid of what dead processes left in it; says on stderr what that was."""
    with _with_tables(home) as instance:
        for sentence in end_dead_runs(instance, home):
            tell_on_stderr(sentence)
        yield instance


def _with_tables(home: Path) -> dg.DagsterInstance:
    """One process at a time: on an empty home each storage makes its tables, and two that do it at once break them."""
    with FileLock(home / "dagster" / "tables.lock"):
        instance = dg.DagsterInstance.from_config(str(home / "dagster"))
        _ = (instance.run_storage, instance.event_log_storage, instance.schedule_storage)
        return instance


def free_slots(instance: dg.DagsterInstance, run_id: str) -> None:
    """Give back the pool slots of a run that has ended; the daemon does it too, where one runs."""
    instance.event_log_storage.free_concurrency_slots_for_run(run_id)
