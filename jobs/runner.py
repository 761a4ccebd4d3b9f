"""One job from its JSON to a sealed artefact: what training and evaluation do in the same way.

What was sealed before is returned at once. The work folder is held by one process at a time (another one waits and
then looks whether there is still something to do), inputs are compared with the job byte by byte, and what an earlier
attempt kept is resumed. How it ended is the exit status; a person's mistake is one line, never a traceback. What is
done is the room's own, and handed in.
"""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from jobs import group
from jobs.job import Job
from jobs.process import unless_stopped
from jobs.progress import reporting, say
from jobs.run_log import RunLog, run_log
from lineage.errors import CorpusError, EvaluationError, Interrupted, TrainingError
from lineage.files import empty, no_room, tells_of_no_room
from recipes.errors import DONE, TemperError

Stage = Callable[[Job, Path, RunLog, threading.Event], dict[str, Any]]
"""Does a job in its work folder and returns the record's metrics. Raises Interrupted when the event was set."""


@dataclass(frozen=True)
class Kept:
    """What outlives an attempt that was not sealed: this folder in the work folder, where it `is_worth` going on from.

    informative: files of the artefact that hold times, and are no part of its digest.
    """

    folder: str
    is_worth: Callable[[Path], bool]
    informative: tuple[str, ...] = ()


def status_of(do: Callable[[], int]) -> int:
    """The exit status that `do` gives, or that what it raises has; what went wrong is said in one line."""
    with reporting():
        try:
            return do()
        except Interrupted as interrupted:
            say(f"{interrupted}; the same job goes on from there")
            return interrupted.status
        except TemperError as error:
            say(f"error: {error}", of_all=False)
            return error.status


def read(job_file: Path) -> Job:
    """Raises TrainingError that names file and field."""
    try:
        return Job.read(job_file)
    except OSError as error:
        raise TrainingError(f"{job_file}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        said = ": ".join(filter(None, [".".join(map(str, first["loc"])), first["msg"]]))
        raise TrainingError(f"{job_file}: not a job: {said}") from None


def is_there(job: Job) -> bool:
    """Whether the job's artefact was sealed before; people are told where."""
    if (found := job.found()) is None:
        return False
    say(f"{job.ref}: is there already: {found.path}")
    return True


def make(job: Job, stage: Stage, stop: threading.Event, kept: Kept) -> int:
    """Do the job and seal what comes of it; returns its exit status."""
    with _held(job, stop, kept) as work:
        if work is not None:
            with run_log(job.tracking if group.leads() else None) as log:
                metrics = stage(job, work, log, stop)
                if group.leads():
                    artifact = job.seal(metrics, informative=kept.informative, drop=(kept.folder,))
                    say(f"{job.ref}: sealed {artifact.path}")
    return DONE


@contextmanager
def _held(job: Job, stop: threading.Event, kept: Kept) -> Iterator[Path | None]:
    """The work folder, held and cleared by the process that leads; inputs are what the job was made for.

    None if another process has sealed the artefact meanwhile.
    """
    if not group.leads():
        group.join()
        yield None if group.agreed(lambda: False) else job.store.work_path(job.request)
        return
    with job.store.building(job.request, say, unless_stopped(stop, job.ref)) as work:
        try:
            if not (sealed := is_there(job)):
                empty(work, kept.folder)  # half-written results must not be sealed with whole ones
                _verify_inputs(job)
            group.join()
            yield None if group.agreed(lambda: sealed) else work
        except (TrainingError, CorpusError, EvaluationError):
            _leave(work, kept)
            raise
        except Exception as error:
            if not tells_of_no_room(error):
                raise
            _leave(work, kept)
            raise no_room(work, error) from error


def _leave(work: Path, kept: Kept) -> None:
    """Of an attempt that ended in a message: what another may go on from, if there is anything."""
    empty(work, kept.folder)
    if not kept.is_worth(work / kept.folder):
        shutil.rmtree(work)


def _verify_inputs(job: Job) -> None:
    """Every byte of every input is the one that the job was made for."""
    for name, given in job.inputs.items():
        artifact = job.store.open(given.path)
        if artifact.digest != given.digest:
            raise TrainingError(
                f"inputs.{name}: {given.path} has digest {artifact.digest[:12]}, the job wants {given.digest[:12]}; "
                "launch it again"
            )
        job.store.verify(artifact)
