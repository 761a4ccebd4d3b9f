"""Work spread over processes, with results in the order of the jobs, so that what is made of them never differs.

Processes are spawned, not forked: a step's process may hold threads, and a fork would copy their locks. They end
with the process that started them, also when that is killed.
"""

import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any, TypeVar

from corpora.raw import CorpusError

_PR_SET_PDEATHSIG = 1  # linux/prctl.h

Given = TypeVar("Given")
Job = TypeVar("Job")
Result = TypeVar("Result")

_begun: tuple[Callable[[Any], Callable[[Any], Any]], Any]
_work: Callable[[Any], Any] | None = None
"""In a worker: what it does with a job, once it has had one. Not made at the start of the process, where an error
of the recipe's could not be told."""


def available() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def in_order(
    start: Callable[[Given], Callable[[Job], Result]], given: Given, jobs: Iterable[Job], workers: int
) -> Iterator[Result]:
    """`start(given)(job)` for each job, in order; with one worker in this process.

    `start` runs once in each worker. Jobs are taken from the iterable as they are needed, at most two for each
    worker ahead of the results. Raises what a job raises, and CorpusError if a worker is killed.
    """
    if workers == 1:
        yield from map(start(given), jobs)
        return
    waiting: deque[Future[Result]] = deque()
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_begin, initargs=(os.getpid(), start, given)
    )
    try:
        remaining = iter(jobs)
        waiting.extend(pool.submit(_do, job) for job in islice(remaining, 2 * workers))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(_do, job) for job in islice(remaining, 1))
    except BrokenProcessPool:
        raise CorpusError("a worker process was killed, perhaps for want of memory; lower corpora.workers") from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _begin(parent: int, start: Callable[[Any], Callable[[Any], Any]], given: Any) -> None:
    global _begun
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C reaches the parent, which ends its workers
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
    _begun = (start, given)


def _do(job: Any) -> Any:
    global _work
    if _work is None:
        start, given = _begun
        _work = start(given)
    return _work(job)
