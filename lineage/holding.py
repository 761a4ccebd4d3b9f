"""One holder at a time: a lock of the operating system on a file, and in the file a note of who holds it.

The system gives a lock back when its holder ends, however that comes (SIGKILL and power cut too), and no process
number that is given out again can hold it. So a lock that can be had says that whoever holds it by its note is gone,
unless the file is another one in the place of the one that is held, a restored copy say: that is why the note also
tells when its process began (`Holder.is_there`). What a lock stands for is its owner's matter: a work folder (`store`),
a run or the servers of a home (`orchestration.liveness`).
"""

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError

ON_BEHALF_OF = "TEMPER_ON_BEHALF_OF"
"""Environment variable: for what a process and its children work, as a note says it (`run 1a2b3c4d`)."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # Linux; one for all containers of a machine
_POLL_SECONDS = 0.5


class Holder(BaseModel):
    """Who holds a lock, or held it last.

    boot: of the system's kernel, empty where there is none to be had. started: see `_started`.
    """

    pid: int
    started: int | None
    host: str
    boot: str
    on_behalf_of: str
    doing: str

    @property
    def is_of_here(self) -> bool:
        """Whether this machine can tell if it lives: the same kernel, or the same machine started again."""
        return self.host == socket.gethostname() or self.boot == _boot() != ""

    @property
    def is_there(self) -> bool:
        """Whether its process is one of this kernel's now."""
        return self.boot == _boot() != "" and self.started is not None and self.started == _started(self.pid)

    def __str__(self) -> str:
        where = "" if self.host == socket.gethostname() else f" on {self.host}"
        behalf = f" ({self.on_behalf_of})" if self.on_behalf_of else ""
        return f"process {self.pid}{where}{behalf}"


class Held(Exception):
    """Somebody holds the lock; `holder` is None while its note is being written."""

    def __init__(self, holder: Holder | None) -> None:
        super().__init__(str(holder or "another process"))
        self.holder = holder


def hold(path: Path, doing: str) -> FileLock:
    """Hold `path` until `release()` or the end of this process. Raises Held."""
    path.parent.mkdir(parents=True, exist_ok=True)
    me = Holder(
        pid=os.getpid(),
        started=_started(os.getpid()),
        host=socket.gethostname(),
        boot=_boot(),
        on_behalf_of=os.environ.get(ON_BEHALF_OF, ""),
        doing=doing,
    )

    def note(descriptor: int) -> None:
        """Durable before the work begins: it is read after a power cut."""
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, me.model_dump_json().encode(), 0)
        os.fsync(descriptor)

    lock = FileLock(path, thread_local=False, on_acquired=note)
    _acquire(lock, path)
    return lock


@contextmanager
def holding(
    path: Path, doing: str, tell: Callable[[str], None], still: Callable[[], object] = lambda: None
) -> Iterator[None]:
    """Hold `path` while the block lasts, however long its holder takes.

    tell: called with one sentence for each holder that is waited for. still: called at every look; what it raises
    ends the waiting.
    """
    told: str | None = None
    while True:
        try:
            lock = hold(path, doing)
            break
        except Held as held:
            if told != (told := str(held)):
                tell(f"{doing}: waits for {held}, which is at it")
        still()
        time.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def left_behind(path: Path) -> Iterator[Holder | None]:
    """Who held `path` to its end and is gone, kept from being held again while the block lasts; else None.

    None too if nobody ever held it, and if this machine cannot tell whether its holder lives.
    """
    holder = holder_of(path)
    lock = FileLock(path, thread_local=False)
    if holder is None or not holder.is_of_here:
        yield None
        return
    try:
        _acquire(lock, path)
    except Held:
        yield None
        return
    try:
        yield holder
    finally:
        lock.release()


def holder_of(path: Path) -> Holder | None:
    """Whom the note in `path` names; None without one."""
    try:
        return Holder.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def tell_on_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _acquire(lock: FileLock, path: Path) -> None:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise Held(holder_of(path)) from None


def _started(pid: int) -> int | None:
    """When a process began, in clock ticks since the start of the system, which no setting of the clock moves (field 22
    of proc(5)'s stat); None if there is no such process, or only its remains, or no /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    state, *numbers = stat.rpartition(")")[2].split()
    return None if state in "ZX" else int(numbers[18])


@cache
def _boot() -> str:
    return _BOOT_ID.read_text(encoding="ascii").strip() if _BOOT_ID.is_file() else ""
