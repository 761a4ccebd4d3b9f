"""A step of a corpus as a list of pure tasks with a barrier behind it, run here or on a cluster.

A task is a picklable value; the function that does it reads its inputs, writes its own files (`atomically`) and
returns a small JSON value. It may run in any process on any machine that sees the same folder, in any order, and
more than once. So how tasks are divided must follow from the inputs alone, never from the number of workers: then
the bytes are the same wherever they run. What is in the files is left to the steps.
"""

import json
import os
import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpora.progress import progress
from corpora.raw import CorpusError
from lineage.hashing import canonical_json
from recipes.corpora import CorporaExecution

_FOLDER = ".tasks"


@dataclass(frozen=True)
class Task:
    """One task of a stage, on disk: what to do, and, once it is done, what came of it."""

    folder: Path
    number: int

    def write(self, call: Callable[[Any], Any], value: Any) -> None:
        with atomically(self._asked) as path:
            path.write_bytes(pickle.dumps((call, value)))

    def run(self) -> None:
        """Do it, and note its result; a CorpusError is a result too, told to the user behind the barrier."""
        call, value = pickle.loads(self._asked.read_bytes())  # noqa: S301 - written by `write`, in the store
        try:
            outcome = {"result": call(value)}
        except CorpusError as error:
            outcome = {"error": str(error)}
        with atomically(self._done) as path:
            path.write_text(canonical_json(outcome), encoding="utf-8")

    @property
    def finished(self) -> bool:
        return self._done.is_file() and "result" in self._outcome()

    def result(self) -> Any:
        """What the task returned. Raises the CorpusError that ended it, or one that says that it never ended."""
        if not self._done.is_file():
            raise CorpusError(f"{self.folder.name}: task {self.number} did not end; its log says why")
        outcome = self._outcome()
        if "error" in outcome:
            raise CorpusError(outcome["error"])
        return outcome["result"]

    def _outcome(self) -> dict[str, Any]:
        outcome: dict[str, Any] = json.loads(self._done.read_text(encoding="utf-8"))
        return outcome

    @property
    def _asked(self) -> Path:
        return self.folder / f"{self.number:06d}.task"

    @property
    def _done(self) -> Path:
        return self.folder / f"{self.number:06d}.json"


def run_tasks(
    stage: str, call: Callable[[Any], Any], values: Sequence[Any], execution: CorporaExecution, work: Path
) -> list[Any]:
    """`[call(value) for value in values]`, as `execution` says; it ends when all are done.

    stage: unique in `work`, the folder of one request. call: a module's function, found again by name elsewhere.
    What finished before a crash is not done again. Raises the CorpusError of a task that raised one.
    """
    folder = work / _FOLDER / stage
    folder.mkdir(parents=True, exist_ok=True)
    tasks = [Task(folder, number) for number in range(len(values))]
    left = [task for task in tasks if not task.finished]
    for task in left:
        task.write(call, values[task.number])
    if left and execution.runner == "datatrove":
        from corpora.distributed.executors import run_on_datatrove

        run_on_datatrove(stage, left, execution)
    else:
        _run_here(stage, left, min(workers_of(execution), len(left)))
    return [task.result() for task in tasks]


def workers_of(execution: CorporaExecution) -> int:
    """Tasks at a time: those of the recipe, or one for each CPU that this process may use."""
    cpus = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return execution.workers or cpus


@contextmanager
def atomically(path: Path) -> Iterator[Path]:
    """A path to write to, that becomes `path` when the block ends well: a file is whole or not there."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _run_here(stage: str, tasks: list[Task], workers: int) -> None:
    with progress(stage, len(tasks), "blocks") as advance:
        if workers <= 1:
            for task in tasks:
                task.run()
                task.result()
                advance(1)
        else:
            _run_in_processes(stage, tasks, workers, advance)


def _run_in_processes(stage: str, tasks: list[Task], workers: int, advance: Callable[[int], None]) -> None:
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from concurrent.futures.process import BrokenProcessPool

    context = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    with ProcessPoolExecutor(workers, context, initializer=_depend_on, initargs=(os.getpid(),)) as pool:
        try:
            running = {pool.submit(task.run): task for task in tasks}
            for future in as_completed(running):
                future.result()
                running[future].result()
                advance(1)
        except BrokenProcessPool:
            raise CorpusError(
                f"{stage}: a worker process was ended from outside, often for want of memory; "
                f"set corpora.workers, now {workers}, lower"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _depend_on(parent: int) -> None:
    """In a worker: end with the process that started it (Linux only); without it, it would wait for work for ever."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C reaches the parent, which ends its workers
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG, linux/prctl.h
        if os.getppid() != parent:
            os._exit(1)
