"""A job process as a good citizen: it stops when told, dies with its parent and leaves nobody behind.

`install()` is the first thing a job process does: it settles the environment that the heavy libraries
read when they are imported, turns signals into an event that a training loop looks at between steps,
asks the kernel for a SIGTERM when the parent dies (a killed step worker cannot clean up), and at exit
ends what is left of its process group. Starting and escalating is the launcher's work.
"""

import atexit
import ctypes
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

from lineage.errors import Interrupted

if TYPE_CHECKING:
    import psutil

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LIBC = ctypes.CDLL(None, use_errno=True)  # loaded before a fork: in a child no lock may be waited for
_FAREWELL_S = 1.0

_ENVIRONMENT = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    "DAGSTER_DISABLE_TELEMETRY": "yes",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "TQDM_DISABLE": "1",
    "WANDB_MODE": "disabled",
}


_CONSIDERATE = {"GOMP_SPINCOUNT": "3000"}
"""Unless set otherwise: how long OpenMP threads spin before they sleep, here for about as long as waking takes.
libgomp's own 300,000 starve each other as soon as a core is shared, none at all pays a wake-up at every barrier.
SFT of a 135M model in fp32 on two cores, tokens/s alone and beside one busy process: 100,000 spins 131 and 12,
3,000 spins 125 and 61, none 80 and 79."""


def install() -> threading.Event:
    """Settle environment, signals and process group; returns the event that a signal sets.

    The first SIGINT or SIGTERM sets the event; a second one of the same kind has its default effect, but not in one
    of several processes that train together: there the launcher above repeats what it is told.
    Call it once, in the main thread, before torch, transformers, datasets or mlflow are imported.
    """
    os.environ.update(_CONSIDERATE | dict(os.environ) | _ENVIRONMENT)
    warnings.filterwarnings("ignore", category=FutureWarning)  # trl 1.16 sets what transformers 6 will drop
    stop = threading.Event()

    def note(signum: int, _frame: FrameType | None) -> None:
        stop.set()
        if "RANK" not in os.environ:
            signal.signal(signum, signal.SIG_DFL)

    signal.signal(signal.SIGTERM, note)
    signal.signal(signal.SIGINT, note)
    dies_with_parent()
    atexit.register(_end_own_group, os.getppid())
    return stop


def dies_with_parent(signum: int = signal.SIGTERM, parent: int | None = None) -> None:
    """`signum` to this process when the thread that started it ends (Linux only); also for a child before its exec.

    parent: who that is. If it has ended before it could be asked for, this process ends at once.
    """
    if sys.platform == "linux" and _LIBC.prctl(_PR_SET_PDEATHSIG, signum, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def unless_stopped(stop: threading.Event, who: str) -> Callable[[], None]:
    """For a wait between its looks: raises Interrupted once `stop` is set."""

    def look() -> None:
        if stop.is_set():
            raise Interrupted(f"{who}: stopped while it waited for another process")

    return look


def _end_own_group(parent: int) -> None:
    """End the other members of the process group that this process leads.

    Siblings are spared: in `python -m training job.json | tee log` the shell puts `tee` in our group.
    """
    import psutil

    if os.getpgrp() != os.getpid():
        return
    members = [p for p in psutil.process_iter() if _in_group(p.pid, os.getpid()) and p.pid != os.getpid()]
    left = [p for p in members if _parent_of(p) not in (None, parent)]
    for process in left:
        _send(process.pid, signal.SIGTERM)
    _, alive = psutil.wait_procs(left, timeout=_FAREWELL_S)
    for process in alive:
        _send(process.pid, signal.SIGKILL)


def _in_group(pid: int, group: int) -> bool:
    try:
        return os.getpgid(pid) == group
    except (ProcessLookupError, PermissionError):
        return False


def _parent_of(process: "psutil.Process") -> int | None:
    import psutil

    try:
        return int(process.ppid())
    except psutil.NoSuchProcess:
        return None


def _send(pid: int, signum: int) -> None:
    try:
        os.kill(pid, signum)
    except ProcessLookupError:
        return
