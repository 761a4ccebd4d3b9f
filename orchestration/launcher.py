"""Starts a job in a process tree of its own, and leaves none of it behind.

A Pipes client, because Dagster's own leaves a trainer that ignores SIGINT alive, and its children with
it. The tree gets a session of its own. However the wait ends (finished, interrupted by a termination
from the UI, an error) what is left of the tree is asked by SIGINT, told by SIGTERM and ended by SIGKILL
within the job's grace period. A step worker that is itself killed cannot do this: then the kernel's
parent-death signal ends the job, and the job ends its group (`jobs.process`).
"""

import os
import signal
import subprocess
import sys
import time
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from threading import Thread, current_thread, main_thread
from typing import IO

import dagster as dg
import psutil

from assets.making import Ended
from jobs.process import dies_with_parent
from orchestration.liveness import holding_job

_ROOT = Path(__file__).resolve().parent.parent
_ESCALATION = ((signal.SIGINT, 0.5), (signal.SIGTERM, 0.4), (signal.SIGKILL, 0.1))
"""Signals in order, each with its share of the grace period."""
_POLL_SECONDS = 0.05
_LAST_LINES = 20


class LocalLauncher:
    """Back end `local`: a child process on this machine. Call `run` from a step's main thread."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def run(self, context: dg.AssetExecutionContext, command: Sequence[str], *, grace_seconds: float) -> Ended:
        """Run `command` to its end, its output going to the step's own stdout and stderr as it comes."""
        tails: dict[str, deque[str]] = {name: deque(maxlen=_LAST_LINES) for name in ("stdout", "stderr")}
        with (
            warnings.catch_warnings(action="ignore", category=dg.PreviewWarning),
            holding_job(self._home, context.run_id, context.asset_key.to_user_string()),
            _pipes(context) as session,
        ):
            process = subprocess.Popen(
                command,
                env={**os.environ, **session.get_bootstrap_env_vars(), "PYTHONPATH": _python_path()},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,
                preexec_fn=partial(dies_with_parent, signal.SIGKILL, os.getpid()),
            )
            relays = [
                Thread(target=_relay, args=(getattr(process, name), getattr(sys, name), tail), daemon=True)
                for name, tail in tails.items()
            ]
            for relay in relays:
                relay.start()
            try:
                process.wait()
            finally:
                end_tree(process, grace_seconds)
                for relay in relays:
                    relay.join(timeout=1)
        return Ended(process.returncode, "\n".join(tails["stdout"]), "\n".join(tails["stderr"]))


def _pipes(context: dg.AssetExecutionContext) -> AbstractContextManager[dg.PipesSession]:
    return dg.open_pipes_session(context, dg.PipesTempFileContextInjector(), dg.PipesTempFileMessageReader())


def end_tree(process: "subprocess.Popen[str]", grace_seconds: float) -> None:
    """End what lives of the session that `process` leads and of its descendants, in `grace_seconds` at most."""
    with _undisturbed():
        known = _living(process, {})
        for signum, share in _ESCALATION:
            for member in known.values():
                _send(member, signum)
            deadline = time.monotonic() + share * grace_seconds
            while (known := _living(process, known)) and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
            if not known:
                return


def _living(process: "subprocess.Popen[str]", known: dict[int, psutil.Process]) -> dict[int, psutil.Process]:
    """Those of `known` that live, and whoever of the session or below the leader has come since."""
    process.poll()
    members = dict(known)
    for candidate in psutil.process_iter():
        if _session(candidate.pid) == process.pid:
            members[candidate.pid] = candidate
    for member in list(members.values()):
        members |= {child.pid: child for child in _children(member)}
    return {pid: member for pid, member in members.items() if _lives(member)}


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _send(process: psutil.Process, signum: signal.Signals) -> None:
    try:
        process.send_signal(signum)
    except psutil.NoSuchProcess:
        return


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ignore SIGINT and SIGTERM: a second Ctrl-C must not leave half a tree alive."""
    if current_thread() is not main_thread():
        yield
        return
    before = {signum: signal.signal(signum, signal.SIG_IGN) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _relay(stream: IO[str], to: IO[str], tail: deque[str]) -> None:
    """Pass the job's output on as it comes and keep its end: it says why a job failed."""
    for line in stream:
        to.write(line)
        to.flush()
        tail.append(line.rstrip("\n"))


def _python_path() -> str:
    """The job imports this tree, whether or not it is installed."""
    before = os.environ.get("PYTHONPATH")
    return os.pathsep.join([str(_ROOT), *([before] if before else [])])
