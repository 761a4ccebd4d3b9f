"""A step of a corpus as a list of pure tasks with a barrier behind it, run here or on a cluster.

A task is a picklable value; the function that does it reads its inputs, writes its own files (`atomically`) and
returns a small JSON value. It may run in any process on any machine that sees the same folder, in any order, and
more than once. So how tasks are divided must follow from the inputs alone, never from the number of workers: then
the bytes are the same wherever they run. What is in the files is left to the steps.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from corpora.work.progress import progress
from corpora.work.task import Task, workers_of
from jobs.process import dies_with_parent
from lineage.errors import CorpusError
from recipes.execution import CorporaExecution

_FOLDER = ".tasks"


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
        from corpora.work.datatrove import run_on_datatrove

        run_on_datatrove(stage, left, execution)
    else:
        _run_here(stage, left, min(workers_of(execution), len(left)))
    return [task.result() for task in tasks]


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
    """In a worker: end with the process that started it; without it, it would wait for work for ever."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C reaches the parent, which ends its workers
    dies_with_parent(signal.SIGKILL, parent)
