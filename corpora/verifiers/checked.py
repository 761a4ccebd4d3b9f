"""Answers checked in a process apart, each within a deadline: a check that hangs or breaks costs one answer.

The process (`checker`) is started at the first answer and kept; it gets none of our environment, so no key or token
is there to be read. It is no sandbox: what runs an answer as code is refused before (`recipes.gym_tasks`).
"""

import atexit
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from corpora.verifiers import checker
from lineage.errors import CorpusError

Check = Literal["gym", "instructions", "pattern"]

SECONDS = 5
"""Of CPU time for one answer. A right one of any task took 0.001 at most, making the task's verifier 0.6. Waiting
included, it may take three times as long and five seconds, so that a busy machine costs nothing."""

_WALL_SECONDS = 3 * SECONDS + 5
_START_SECONDS = 600
_READY = "ready"
_AT_A_TIME = 256
"""Requests in one message. Their replies fit into a pipe, so the process never waits for us to read them."""

_ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
}
_PASSED_ON = ("LD_LIBRARY_PATH", "NLTK_DATA")


@dataclass(frozen=True)
class Unchecked:
    """Why an answer has no result; it counts as wrong."""

    reason: str


def checked(check: Check, asked: Sequence[Any]) -> list[Any]:
    """The result of each (JSON), or `Unchecked`, from any thread. Raises CorpusError if the check cannot be started."""
    found: list[Any] = []
    with _lock:
        for start in range(0, len(asked), _AT_A_TIME):
            found += _some(check, [_encoded(one) for one in asked[start : start + _AT_A_TIME]])
    return found


def _some(check: Check, requests: list[bytes]) -> list[Any]:
    found: list[Any] = []
    died_at = -1
    while len(found) < len(requests):
        process = _running(check)
        try:
            for result in process.results(requests[len(found) :]):
                found.append(result)
        except _Ended as ended:
            again, died_at = died_at == len(found), len(found)
            if ended.late:
                found.append(Unchecked(f"not done in {SECONDS} s"))
            elif again:  # a first time it may have been somebody else's hand
                found.append(Unchecked("ended the process"))
    return found


def _encoded(asked: Any) -> bytes:
    try:
        return json.dumps(asked).encode()
    except (TypeError, ValueError, RecursionError):
        return b"null"  # which every check fails on


def told(found: Sequence[Any]) -> str | None:
    """A sentence on the answers that have no result, if there are any."""
    reasons = Counter(one.reason for one in found if isinstance(one, Unchecked))
    if not reasons:
        return None
    each = ", ".join(f"{count} × {reason}" for reason, count in sorted(reasons.items()))
    return f"{reasons.total()} of {len(found)} answers could not be checked and count as wrong: {each}"


class _Ended(Exception):
    def __init__(self, late: bool) -> None:
        self.late = late


class _Process:
    """A running checker."""

    def __init__(self, check: Check) -> None:
        kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        options = ["-s", "-P", "-B", "-X", "utf8"]
        self._process = subprocess.Popen(
            [sys.executable, *options, str(Path(checker.__file__)), check, str(SECONDS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**_ENVIRONMENT, **kept},
            cwd="/",
            bufsize=0,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin.fileno(), self._process.stdout.fileno()
        self._readable = select.poll()
        self._readable.register(self._stdout, select.POLLIN)
        self._read = b""
        ready: Any = None
        try:
            ready = self._reply(_START_SECONDS)
        except _Ended:
            ready = Unchecked("it ended before it was ready")
        finally:
            if ready != _READY:
                self.end()
        if ready != _READY:
            raise CorpusError(f"the process that checks answers ({check}) does not start: {ready.reason}")

    @property
    def over(self) -> bool:
        return self._process.poll() is not None

    def results(self, requests: Sequence[bytes]) -> Iterator[Any]:
        """One by one. Raises _Ended where the process does; whoever stops in between has ended it."""
        try:
            with contextlib.suppress(OSError):  # it ended: so its replies do, too
                self._write(b"[" + b",".join(requests) + b"]\n")
            for _ in requests:
                yield self._reply(_WALL_SECONDS)
        except BaseException:  # what is left in the pipe would be taken for answers to the next requests
            self.end()
            raise

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def _write(self, message: bytes) -> None:
        while message:
            message = message[os.write(self._stdin, message) :]

    def _reply(self, seconds: int) -> Any:
        deadline = time.monotonic() + seconds
        while b"\n" not in self._read:
            if not self._readable.poll(1000 * max(0.0, deadline - time.monotonic())):
                raise _Ended(late=True)
            piece = os.read(self._stdout, 1 << 16)
            if not piece:
                raise _Ended(late=self._process.wait() == -signal.SIGXCPU)
            self._read += piece
        line, _, self._read = self._read.partition(b"\n")
        said = json.loads(line)
        return said["result"] if "result" in said else Unchecked(f"ended with {said['failed']}")


_lock = threading.Lock()
_processes: dict[tuple[Any, ...], _Process] = {}


def _running(check: Check) -> _Process:
    """The checker of this process: one that forked uses none of its parent's."""
    key = (check, os.getpid(), os.environ.get("NLTK_DATA"))
    if key not in _processes or _processes[key].over:
        if not _processes:
            atexit.register(_end_all)
        _processes[key] = _Process(check)
    return _processes[key]


def _end_all() -> None:
    for (_, parent, _), process in _processes.items():
        if parent == os.getpid():
            process.end()
