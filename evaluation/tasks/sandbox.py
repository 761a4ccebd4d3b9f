"""Programs that a model wrote, run one at a time where they can do no harm. How is `confined`'s; Linux only.

Before the first one, `probe` runs a program that tries to break out, with the same means. Where no sandbox can be made
or it does not hold, nothing is run.
"""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from evaluation.report import EvaluationError
from evaluation.tasks import confined

Ended = Literal["passed", "failed", "stopped"]
"""`stopped` is a program that was still running when its time was over."""

_MEND = (
    "programs are run only in a sandbox, which needs Linux 5.12 or later with namespaces for this user: run as root "
    "with CAP_SYS_ADMIN (docker run --cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt "
    "apparmor=unconfined), or allow user namespaces (kernel.unprivileged_userns_clone=1, "
    "kernel.apparmor_restrict_unprivileged_userns=0); or leave the task out"
)


@dataclass(frozen=True)
class Limits:
    """seconds: of CPU time for a process; waiting included, a program may take three times as long and five seconds."""

    seconds: int = 10
    memory_mb: int = 512
    processes: int = 8
    file_mb: int = 16
    scratch_mb: int = 64
    open_files: int = 64

    @property
    def wall_seconds(self) -> int:
        return 3 * self.seconds + 5


def run(program: str, limits: Limits) -> Ended:
    """Run a Python program to its end; `passed` if that was reached without an error.

    Raises EvaluationError if no sandbox can be made.
    """
    token = secrets.token_hex(16)
    ending = f"\n\nimport os as _ending\n_ending.write(3, b'{token}')\n"
    root = tempfile.mkdtemp(prefix="sandbox-")
    asked = {
        "program": program + ending,
        "token": token,
        "root": root,
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
    try:
        return _confined(json.dumps(asked), limits.wall_seconds)
    finally:
        os.rmdir(root)


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


def _confined(asked: str, wall_seconds: int) -> Ended:
    command = [_python(), "-I", "-S", str(Path(confined.__file__))]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={},
        cwd="/",
        start_new_session=True,
        text=True,
    ) as process:
        try:
            _, reason = process.communicate(asked, timeout=wall_seconds)
        except subprocess.TimeoutExpired:
            return "stopped"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
    if process.returncode == 2:
        raise EvaluationError(f"no sandbox can be made here ({' '.join(reason.split())}); {_MEND}")
    if process.returncode == 3:
        return "stopped"
    return "passed" if process.returncode == 0 else "failed"


def _python() -> str:
    """The interpreter itself, without the packages of a virtual environment."""
    return str(getattr(sys, "_base_executable", None) or sys.executable)
