"""Files that are whole or not there, whatever ends the process that writes them."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lineage.errors import OutOfSpace
from lineage.hashing import canonical_json


@contextmanager
def atomically(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """A path to write to, that becomes `path` when the block ends well; its folder is made.

    durable: on disk, and under its name, before the block ends: a power cut does not undo it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        if durable:
            fsync(temporary)
        os.replace(temporary, path)
        if durable:
            fsync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Canonical JSON, atomically and durably."""
    with atomically(path, durable=True) as temporary:
        temporary.write_text(canonical_json(value) + "\n", encoding="utf-8")


def empty(folder: Path, but: str | None = None) -> None:
    """Remove all that is in a folder, but for what is called `but`."""
    for child in folder.iterdir():
        if child.name != but:
            shutil.rmtree(child) if child.is_dir() else child.unlink()


def fsync(path: Path) -> None:
    """Have the system write a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def tells_of_no_room(error: Exception) -> bool:
    """Whether a disk is full: Python, torch, safetensors and tokenizers each raise something of their own for it."""
    return any(os.strerror(number) in str(error) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))


def no_room(path: Path, error: Exception) -> OutOfSpace:
    """What to say of a disk that filled up while `path` was written, once what was half-written is gone."""
    free = shutil.disk_usage(path.parent).free
    return OutOfSpace(
        f"{path} could not be written: {str(error).splitlines()[0]}; {free / 1e9:.2f} GB are free now; "
        "free some space and run the job again, it goes on where it stopped"
    )
