"""Resumable checkpoints that can be trusted.

The trainer writes `checkpoint-<step>` folders neither atomically nor with a checksum: a kill during a save
makes resuming fail for ever, a missing or flipped byte of the optimizer resumes silently wrong. So each
folder gets a manifest with the size and sha256 of every file, all synced to disk, and a COMPLETE marker
last; resuming takes the newest folder that still agrees with its manifest and sets newer ones aside. One is
deleted only when `KEEP` newer ones agree with theirs, so that damage on disk never costs the last good one.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jobs.progress import say
from lineage.errors import OutOfSpace
from lineage.files import fsync, no_room, tells_of_no_room, write_json
from lineage.hashing import file_digest

FOLDER = "checkpoints"
"""Where in a job's work folder they lie."""

KEEP = 2
"""Verified checkpoints that retention leaves: one may turn out damaged, then the other is resumed."""

_MANIFEST, _COMPLETE = "manifest.json", "COMPLETE"
_PREFIX = "checkpoint-"
_ASIDE = "set-aside-"
_SPARE_BYTES = 64 << 20


class BadCheckpoint(Exception):
    """Why a checkpoint folder is not to be resumed from."""


def complete(folder: Path, made_by: Mapping[str, Any], made_on: Mapping[str, Any] | None = None) -> None:
    """Vouch for a checkpoint that the trainer has just written.

    made_by: what a later attempt must have in common with this one to resume from it (JSON values). made_on: what it
    must have in common to end with the very same bits.
    """
    entries = {}
    for name in sorted(_files(folder)):
        fsync(folder / name)
        entries[name] = {"size": (folder / name).stat().st_size, "sha256": file_digest(folder / name)}
    write_json(folder / _MANIFEST, {"made_by": dict(made_by), "made_on": dict(made_on or {}), "files": entries})
    write_json(folder / _COMPLETE, {"manifest": file_digest(folder / _MANIFEST)})
    fsync(folder.parent)


def changed(checkpoint: Path, made_on: Mapping[str, Any]) -> list[str]:
    """In which ways a verified checkpoint was made otherwise than `made_on` says, for people."""
    then = json.loads((checkpoint / _MANIFEST).read_text(encoding="utf-8"))["made_on"]
    return [f"{name} {then.get(name)}, now {now}" for name, now in made_on.items() if then.get(name) != now]


def is_complete(folder: Path) -> bool:
    return (folder / _COMPLETE).is_file()


def verify(folder: Path, made_by: Mapping[str, Any]) -> None:
    """Compare every byte with the manifest. Raises BadCheckpoint."""
    if not is_complete(folder):
        raise BadCheckpoint("it was not finished")
    try:
        vouched = json.loads((folder / _COMPLETE).read_text(encoding="utf-8"))["manifest"]
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        entries = dict(manifest["files"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise BadCheckpoint("its manifest cannot be read") from None
    if file_digest(folder / _MANIFEST) != vouched:
        raise BadCheckpoint("its manifest was changed")
    for name, entry in entries.items():
        _compare(folder / name, name, entry)
    if added := sorted(_files(folder) - set(entries)):
        raise BadCheckpoint(f"{added[0]} was not there when it was written")
    for key, value in made_by.items():
        if manifest["made_by"].get(key) != value:
            raise BadCheckpoint(f"it was made with {key} {manifest['made_by'].get(key)}, not {value}")


def _compare(file: Path, name: str, entry: Mapping[str, Any]) -> None:
    if not file.is_file():
        raise BadCheckpoint(f"{name} is missing")
    try:
        same = file.stat().st_size == entry["size"] and file_digest(file) == entry["sha256"]
    except OSError as error:
        raise BadCheckpoint(f"{name} cannot be read: {error.strerror}") from None
    if not same:
        raise BadCheckpoint(f"the bytes of {name} are not those written")


def newest_verified(folder: Path, made_by: Mapping[str, Any]) -> Path | None:
    """The newest checkpoint that can be resumed from; those newer than it that cannot are set aside."""
    for checkpoint in reversed(_checkpoints(folder)):
        if _holds(checkpoint, made_by):
            return checkpoint
    return None


def retain(saved: Path, made_by: Mapping[str, Any]) -> None:
    """Delete what `KEEP` verified checkpoints make superfluous, and what earlier attempts set aside.

    saved: the newest, just completed, so that its bytes are known; older ones are read again before they count.
    """
    for aside in saved.parent.glob(f"{_ASIDE}*"):
        shutil.rmtree(aside)
    good = 1
    for checkpoint in reversed(_checkpoints(saved.parent)):
        if step_of(checkpoint) >= step_of(saved):
            continue
        if good == KEEP:
            shutil.rmtree(checkpoint)
        elif _holds(checkpoint, made_by):
            good += 1


def _holds(checkpoint: Path, made_by: Mapping[str, Any]) -> bool:
    """Whether a checkpoint can be resumed from; one that cannot is set aside, and people are told why."""
    try:
        verify(checkpoint, made_by)
    except BadCheckpoint as reason:
        aside = checkpoint.with_name(_ASIDE + checkpoint.name)
        if aside.exists():
            shutil.rmtree(aside)
        checkpoint.rename(aside)
        say(f"{checkpoint.name} is set aside: {reason}")
        return False
    return True


def need_space(folder: Path, needed: int) -> None:
    """Raise OutOfSpace unless `needed` bytes and a little more are free where `folder` is.

    What was set aside is evidence only while there is room for it; here it goes first.
    """
    if _free(folder) < needed + _SPARE_BYTES:
        for aside in folder.glob(f"{_ASIDE}*"):
            shutil.rmtree(aside)
    if (free := _free(folder)) < needed + _SPARE_BYTES:
        raise OutOfSpace(
            f"{folder}: {free / 1e9:.2f} GB are free, {(needed + _SPARE_BYTES) / 1e9:.2f} GB are needed to save; "
            "free some space and run the job again, it goes on from its last checkpoint"
        )


@contextmanager
def saving(checkpoint: Path) -> Iterator[None]:
    """While a checkpoint is written: a disk that fills up leaves nothing half-written, and is one message."""
    try:
        yield
    except Exception as error:
        if not tells_of_no_room(error) and _free(checkpoint.parent) >= _SPARE_BYTES:
            raise
        shutil.rmtree(checkpoint, ignore_errors=True)
        raise no_room(checkpoint, error) from error


def newest_finished(folder: Path) -> Path | None:
    """The newest checkpoint that was finished; unlike `newest_verified` it reads none of its bytes."""
    return next((checkpoint for checkpoint in reversed(_checkpoints(folder)) if is_complete(checkpoint)), None)


def kept_until(folder: Path) -> int:
    """The step after which a next attempt would go on; 0 if it would begin anew."""
    newest = newest_finished(folder)
    return step_of(newest) if newest else 0


def size_of_newest(folder: Path) -> int:
    """Bytes of the newest finished checkpoint; 0 if there is none."""
    newest = newest_finished(folder)
    return sum((newest / name).stat().st_size for name in _files(newest)) if newest else 0


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix(_PREFIX))


def at_step(folder: Path, step: int) -> Path:
    return folder / f"{_PREFIX}{step}"


def _files(checkpoint: Path) -> set[str]:
    """What the trainer wrote, by path in the folder."""
    files = (p.relative_to(checkpoint).as_posix() for p in checkpoint.rglob("*") if p.is_file())
    return {name for name in files if name not in (_MANIFEST, _COMPLETE)}


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def _checkpoints(folder: Path) -> list[Path]:
    found = [p for p in folder.glob(f"{_PREFIX}*") if p.name.removeprefix(_PREFIX).isdigit()]
    return sorted(found, key=step_of)
