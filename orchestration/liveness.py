"""Who lives: runs and the servers of a home, told by locks that the system gives back when their holder ends.

Dagster cannot tell a run whose process was killed with everything else from one that works: it would keep the run,
and its slot in a pool, for ever. Here the process that executes a run, from the terminal or from the UI, holds
`<home>/runs/<run>.lock` (`executor`), and a step that has a job holds `<run>.<pid>.lock` until the job is gone, for
so long the GPU is in use. A run whose locks can all be had is dead. One without a lock, or of another machine, is
left alone: nothing here says whether it lives. Whoever opens the instance of a home ends the dead ones first.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import dagster as dg
from filelock import FileLock

from assets.tracking import Tracker
from lineage.holding import Held, Holder, hold, holder_of, holding, left_behind, tell_on_stderr
from recipes.errors import RecipeError

_UNFINISHED = (
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)

_held: dict[Path, FileLock] = {}


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


def hold_run(home: Path, run_id: str, job_name: str) -> None:
    """This process executes the run and says so until its end."""
    path = _lock_of(home, run_id)
    if path not in _held:
        _held[path] = hold(path, f"run {run_id[:8]} of {job_name}")


def holding_job(home: Path, run_id: str, step: str) -> AbstractContextManager[None]:
    """A job of the run lives while the block lasts, even if the run's own process does not."""
    path = _lock_of(home, run_id).with_suffix(f".{os.getpid()}.lock")
    return holding(path, step, tell_on_stderr)


def hold_home(home: Path, urls: str) -> None:
    """Be the one `dev` of this home until this process ends. Raises RecipeError that names the other one."""
    path = home / "dev.lock"
    try:
        _held[path] = hold(path, urls)
    except Held as held:
        where = f" ({held.holder.doing})" if held.holder else ""
        raise RecipeError(
            f"{home}: {held}{where} serves this home already, and a second daemon would launch each schedule twice; "
            "use that one, end it with Ctrl-C, or set TEMPER_HOME to another folder"
        ) from None


def executor_of(home: Path, run_id: str) -> Holder | None:
    """The process that executes a run or did, if it is known."""
    return holder_of(_lock_of(home, run_id))


def end_dead_runs(instance: dg.DagsterInstance, home: Path) -> list[str]:
    """End every dead run and free the slots of all that have ended; one sentence for each run that this ended."""
    said = []
    for run in instance.get_runs(dg.RunsFilter(statuses=list(_UNFINISHED))):
        with _dead(home, run.run_id) as holder:
            if holder is not None and (sentence := _end(instance, run.run_id, holder)):
                said.append(sentence)
                Tracker(home).end_open_runs(run.run_id)
    for run_id in instance.event_log_storage.get_concurrency_run_ids():
        if _has_ended(instance, run_id):
            free_slots(instance, run_id)
    _forget_ended(instance, home)
    return said


def _end(instance: dg.DagsterInstance, run_id: str, holder: Holder) -> str | None:
    """None if somebody else has ended it in between. What a person terminated is no failure to be tried again."""
    run = instance.get_run_by_id(run_id)
    if run is None or run.is_finished:
        return None
    reason = f"{holder} is gone: it was killed, or the machine went down."
    if run.status is dg.DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, f"Terminated, and {reason}")
    else:
        instance.report_run_failed(run, f"The run was dead: {reason}")
    free_slots(instance, run_id)
    return f"Run {run_id[:8]} of {run.job_name} was dead and is ended, its slots are free: {reason}"


@contextmanager
def _dead(home: Path, run_id: str) -> Iterator[Holder | None]:
    """Whoever executed the run, if nothing of it lives any more."""
    own = _lock_of(home, run_id)
    with ExitStack() as stack:
        holder = stack.enter_context(left_behind(own))
        jobs = (stack.enter_context(left_behind(path)) for path in _locks(home, run_id) if path != own)
        yield holder if holder is not None and not holder.is_there and all(jobs) else None


def _has_ended(instance: dg.DagsterInstance, run_id: str) -> bool:
    run = instance.get_run_by_id(run_id)
    return run is None or run.is_finished


def _forget_ended(instance: dg.DagsterInstance, home: Path) -> None:
    """Remove the locks that ended runs have left."""
    for path in _locks(home, ""):
        with left_behind(path) as holder:
            if holder is not None and _has_ended(instance, path.name.partition(".")[0]):
                path.unlink(missing_ok=True)


def _lock_of(home: Path, run_id: str) -> Path:
    return home / "runs" / f"{run_id}.lock"


def _locks(home: Path, run_id: str) -> list[Path]:
    return sorted((home / "runs").glob(f"{run_id}*.lock"))
