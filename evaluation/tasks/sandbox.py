"""Programs that a model wrote, run where they can do no harm, and judged where they cannot reach. Linux only.

A program and the tests that judge it run in two sandboxes at a time (how is `confined`'s), with namespaces, files and
users of their own. Between them are two pipes, over which the tests call the program's functions as plain data
(`calls`). Only the tests' sandbox has the pipe to us and the token that means `passed`.

Before the first one, `probe` runs a program that tries to break out, with the same means. Where no sandbox can be made
or it does not hold, nothing is run.
"""

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from evaluation.tasks import calls as calls_between
from evaluation.tasks import confined
from lineage.errors import EvaluationError

Ended = Literal["passed", "failed", "stopped", "foreign"]
"""`stopped` is a program that was still running when its time was over; `foreign` one whose tests need what is no
plain data: a function, a generator, an object of a class of its own."""

_IMPOSSIBLE, _STOPPED = 2, 3
"""Exit codes of `confined`."""

_FAREWELL_SECONDS = 1.0
"""A program ends when its tests do. How long one that does not is waited for, to tell whether its time was over."""

_CALLS = Path(calls_between.__file__)

_MEND = (
    "programs are run only in a sandbox, which needs Linux 5.12 or later with namespaces for this user: run as root "
    "with CAP_SYS_ADMIN (docker run --cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt "
    "apparmor=unconfined), or allow user namespaces (kernel.unprivileged_userns_clone=1, "
    "kernel.apparmor_restrict_unprivileged_userns=0); or leave the task out"
)


@dataclass(frozen=True)
class Limits:
    """Of each of the two sandboxes. seconds: of CPU time for a process; waiting included, a program and its tests may
    take three times as long and five seconds."""

    seconds: int = 10
    memory_mb: int = 512
    processes: int = 8
    file_mb: int = 16
    scratch_mb: int = 64
    open_files: int = 64

    @property
    def wall_seconds(self) -> int:
        return 3 * self.seconds + 5


@dataclass(frozen=True)
class Tested:
    """A program, and tests that define `check(candidate)`, called with the function `entry_point` of the program.

    given: what of the program did not come from the model; its other functions and its imports are the tests' too.
    """

    program: str
    tests: str = ""
    entry_point: str = ""
    given: str = ""


def run(program: str | Tested, limits: Limits) -> Ended:
    """Run a Python program and its tests; one without tests has `passed` if it says that it came to its end.

    Raises EvaluationError if no sandbox can be made.
    """
    tested = program if isinstance(program, Tested) else Tested(program)
    token = secrets.token_hex(16)
    with ExitStack() as stack:
        ends = stack.enter_context(ExitStack())
        (asked_in, asked_out), (said_in, said_out) = _pipe(ends), _pipe(ends)
        verdict, told = os.pipe()
        stack.callback(os.close, verdict)
        ends.callback(os.close, told)
        given = [asked_in, said_out]
        files = {"program.py": tested.program}
        served = stack.enter_context(_Confined(files, ["serve", tested.entry_point], given, limits))
        given = [told, said_in, asked_out]
        files = {"tests.py": tested.tests, "given.py": tested.given}
        judge = stack.enter_context(_Confined(files, ["judge", tested.entry_point, token], given, limits))
        ends.close()  # each side must see the other's end
        return _ended(served, judge, verdict, token, time.monotonic() + limits.wall_seconds)


def _pipe(ends: ExitStack) -> tuple[int, int]:
    pipe = os.pipe()
    for end in pipe:
        ends.callback(os.close, end)
    return pipe


def _ended(served: "_Confined", judge: "_Confined", verdict: int, token: str, deadline: float) -> Ended:
    code = judge.wait(deadline)
    said = os.read(verdict, 4096).decode(errors="replace") if code is not None else ""
    if code == 0 and said == token:
        return "passed"
    if code is None or code == _STOPPED or served.wait(time.monotonic() + _FAREWELL_SECONDS) == _STOPPED:
        return "stopped"
    return "foreign" if said == calls_between.FOREIGN else "failed"


def probe(limits: Limits) -> None:
    """Run a program that tries to break out. Raises EvaluationError if no sandbox can be made, or if it succeeds."""
    with socket.create_server(("127.0.0.1", 0)) as listening, tempfile.TemporaryDirectory() as outside:
        address = listening.getsockname()
        socket.create_connection(
            address, timeout=5
        ).close()  # reachable from here, so that failing there means something
        attempts = _ATTEMPTS.format(address=address, outside=outside, processes=limits.processes + 8)
        ended = run(attempts, limits)
    if ended != "passed":
        raise EvaluationError(f"a sandbox was made, but a program could break out of it or not run in it; {_MEND}")


_ATTEMPTS = """
import os, socket, sys

def refused(attempt):
    try:
        attempt()
    except OSError:
        return
    os._exit(9)

refused(lambda: socket.create_connection({address!r}, timeout=5))
refused(lambda: open({outside!r} + "/left", "w"))
refused(lambda: open("/usr/left", "w"))
refused(lambda: open("/left", "w"))
refused(lambda: os.listdir({outside!r}))
open("/scratch/kept", "w").close()

def fork_all():
    for _ in range({processes}):
        if os.fork() == 0:
            import time
            time.sleep(60)

refused(fork_all)
"""


class _Confined:
    """`calls` at work in a sandbox, until this context ends.

    files: beside it. arguments: its own. descriptors: of ours, which it gets as 3 and so on.
    """

    def __init__(self, files: dict[str, str], arguments: list[str], descriptors: list[int], limits: Limits) -> None:
        self._root = tempfile.mkdtemp(prefix="sandbox-")
        asked = {
            "files": {_CALLS.name: _CALLS.read_text(encoding="utf-8"), **files},
            "run": _CALLS.name,
            "arguments": arguments,
            "descriptors": descriptors,
            "root": self._root,
            "python": os.path.realpath(_python()),
            "folders": [os.path.realpath(sys.base_prefix)],
            "scratch_bytes": limits.scratch_mb << 20,
            "limits": {
                "AS": limits.memory_mb << 20,
                "CPU": limits.seconds,
                "NPROC": limits.processes,
                "FSIZE": limits.file_mb << 20,
                "NOFILE": limits.open_files,
                "CORE": 0,
            },
        }
        self._process = subprocess.Popen(
            [_python(), "-I", "-S", str(Path(confined.__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={},
            cwd="/",
            pass_fds=descriptors,
            start_new_session=True,
            text=True,
        )
        assert self._process.stdin is not None and self._process.stderr is not None
        self._reasons = self._process.stderr
        with contextlib.suppress(BrokenPipeError):  # it says on its standard error why
            self._process.stdin.write(json.dumps(asked))
            self._process.stdin.close()

    def __enter__(self) -> "_Confined":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._reasons.close()
        os.rmdir(self._root)

    def wait(self, deadline: float) -> int | None:
        """The exit code of `confined`; None if it runs on. Raises EvaluationError if no sandbox could be made."""
        try:
            code = self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return None
        if code == _IMPOSSIBLE:
            reason = " ".join(self._reasons.read().split())
            raise EvaluationError(f"no sandbox can be made here ({reason}); {_MEND}")
        return code


def _python() -> str:
    """The interpreter itself, without the packages of a virtual environment."""
    return str(getattr(sys, "_base_executable", None) or sys.executable)
