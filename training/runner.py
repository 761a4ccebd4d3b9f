"""One job from its JSON to a sealed artefact.

What was sealed before is returned at once. Inputs are compared with the job byte by byte, the work folder is
held by one process at a time (another one waits and then looks whether there is still something to do) and resumed
if an earlier attempt left checkpoints in it. How it ended is the exit status; a person's mistake is one line, never a
traceback.
"""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from jobs import group, launching
from jobs.job import Job
from jobs.process import unless_stopped
from jobs.progress import reporting, say
from jobs.run_log import RunLog, run_log
from lineage.errors import CorpusError, Interrupted, Resumable, StoreError, TrainingError
from recipes.errors import DONE, FAILED, INTERRUPTED, REFUSED
from recipes.execution import TrainingExecution
from training import stages
from training.loop import checkpoints

_INFORMATIVE = ("history.json", "samples.json")
_NOT_PARAMS = ("execution", "folder", "cache")  # MLflow lets no param change, and these may between attempts

Stage = Callable[[Job, Path, RunLog, threading.Event], dict[str, Any]]


def main(job_file: Path, stop: threading.Event) -> int:
    """Do the job in `job_file`; returns its exit status (`jobs.job`)."""
    with reporting():
        try:
            return _do(job_file, _read(job_file), stop)
        except Interrupted as interrupted:
            say(f"{interrupted}; the same job goes on from there")
            return INTERRUPTED
        except (Resumable, StoreError) as error:
            say(f"error: {error}", of_all=False)
            return FAILED
        except (TrainingError, CorpusError) as error:
            say(f"error: {error}", of_all=False)
            return REFUSED


def _read(job_file: Path) -> Job:
    try:
        return Job.read(job_file)
    except OSError as error:
        raise TrainingError(f"{job_file}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise TrainingError(f"{job_file}: {where}: {first['msg']}") from None


def _do(job_file: Path, job: Job, stop: threading.Event) -> int:
    if _is_there(job):
        return DONE
    stage = _stage(job.kind)
    execution = TrainingExecution.model_validate(job.execution)
    if launching.needed(execution):
        return launching.launch(job_file, execution, stop)
    _settle(execution)
    with _held(job, stop) as work:
        if work is not None:
            _make(job, stage, work, stop)
    return DONE


def _is_there(job: Job) -> bool:
    if (found := job.found()) is None:
        return False
    say(f"{job.ref}: is there already: {found.path}")
    return True


def _make(job: Job, stage: Stage, work: Path, stop: threading.Event) -> None:
    with _log(job) as log:
        log.params({name: value for name, value in job.config.items() if name not in _NOT_PARAMS})
        log.tags({f"execution.{name}": value for name, value in job.execution.items()})
        began = time.monotonic()
        metrics = stage(job, work, log, stop)
        metrics["wall_s"] = time.monotonic() - began
        log.metrics({name: value for name, value in metrics.items() if _is_number(value)}, metrics.get("steps", 0))
        if group.leads():
            _seal(job, metrics)


@contextmanager
def _held(job: Job, stop: threading.Event) -> Iterator[Path | None]:
    """The work folder, held and cleared by the process that leads; inputs are what the job was made for.

    None if another process has sealed the artefact meanwhile.
    """
    if not group.leads():
        group.join()
        yield None if group.agreed(lambda: False) else job.store.work_path(job.request)
        return
    with job.store.building(job.request, say, unless_stopped(stop, job.ref)) as work:
        try:
            if not (sealed := _is_there(job)):
                _clear(work)
                _verify_inputs(job)
            group.join()
            yield None if group.agreed(lambda: sealed) else work
        except (TrainingError, CorpusError):
            _leave(work)
            raise
        except Exception as error:
            if not checkpoints.tells_of_no_room(error):
                raise
            _leave(work)
            raise checkpoints.no_room(work, error) from error


def _log(job: Job) -> AbstractContextManager[RunLog]:
    return run_log(job.tracking if group.leads() else None)


def _seal(job: Job, metrics: dict[str, Any]) -> None:
    artifact = job.seal(metrics, informative=_INFORMATIVE, drop=(checkpoints.FOLDER,))
    say(f"{job.ref}: sealed {artifact.path}")


def _stage(kind: str) -> Stage:
    if kind not in stages.KINDS:
        raise TrainingError(f"kind {kind}: not a training job; run it with python -m evaluation")
    return stages.run_of(kind)


def _settle(execution: TrainingExecution) -> None:
    """Devices and threads, before torch is imported. One device: torch would split batches over all it sees."""
    if execution.devices == 1:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")
        os.environ["CUDA_VISIBLE_DEVICES"] = visible[0]
    if execution.threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(execution.threads)


def _clear(work: Path) -> None:
    """Only checkpoints outlive an attempt: half-written results must not be sealed with whole ones."""
    for child in work.iterdir():
        if child.name == checkpoints.FOLDER:
            continue
        if child.is_dir():
            shutil.rmtree(child)
        else:
            child.unlink()


def _leave(work: Path) -> None:
    """Of an attempt that ended in a message: the checkpoints that another may go on from, if there are any."""
    _clear(work)
    if checkpoints.newest_finished(work / checkpoints.FOLDER) is None:
        shutil.rmtree(work)


def _verify_inputs(job: Job) -> None:
    """Every byte of every input is the one that the job was made for."""
    for name, given in job.inputs.items():
        artifact = job.store.open(given.path)
        if artifact.digest != given.digest:
            raise TrainingError(
                f"inputs.{name}: {given.path} has digest {artifact.digest[:12]}, the job wants {given.digest[:12]}; "
                "launch the stage again"
            )
        job.store.verify(artifact)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
