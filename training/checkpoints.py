"""Resumable checkpoints that can be trusted.

The trainer writes `checkpoint-<step>` folders neither atomically nor with a checksum: a kill during a save
makes resuming fail for ever, a missing or flipped byte of the optimizer resumes silently wrong. So each
folder gets a manifest with the size and sha256 of every file, all synced to disk, and a COMPLETE marker
last; resuming takes the newest folder that still agrees with its manifest and sets the others aside.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lineage.hashing import file_digest
from lineage.store import write_json
from training import TrainingError
from training.progress import say

KEEP = 2
"""Verified checkpoints that retention leaves: one may turn out damaged, then the other is resumed."""

_MANIFEST, _COMPLETE = "manifest.json", "COMPLETE"
_PREFIX = "checkpoint-"
_ASIDE = "set-aside-"
_SPARE_BYTES = 64 << 20


class BadCheckpoint(Exception):
    """Why a checkpoint folder is not to be resumed from."""


def complete(folder: Path, made_by: Mapping[str, Any]) -> None:
    """Vouch for a checkpoint that the trainer has just written.

    made_by: what a later attempt must have in common with this one to resume from it (JSON values).
    """
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in (_MANIFEST, _COMPLETE))
    entries = {}
    for file in files:
        _sync(file)
        entries[file.relative_to(folder).as_posix()] = {"size": file.stat().st_size, "sha256": file_digest(file)}
    write_json(folder / _MANIFEST, {"made_by": dict(made_by), "files": entries})
    write_json(folder / _COMPLETE, {"manifest": file_digest(folder / _MANIFEST)})
    _sync(folder.parent)


def is_complete(folder: Path) -> bool:
    return (folder / _COMPLETE).is_file()


def verify(folder: Path, made_by: Mapping[str, Any]) -> None:
    """Compare every byte with the manifest. Raises BadCheckpoint."""
    if not is_complete(folder):
        raise BadCheckpoint("it was not finished")
    try:
        vouched = json.loads((folder / _COMPLETE).read_text(encoding="utf-8"))["manifest"]
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        entries = manifest["files"].items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise BadCheckpoint("its manifest cannot be read") from None
    if file_digest(folder / _MANIFEST) != vouched:
        raise BadCheckpoint("its manifest was changed")
    for name, entry in entries:
        file = folder / name
        if not file.is_file():
            raise BadCheckpoint(f"{name} is missing")
        if file.stat().st_size != entry["size"] or file_digest(file) != entry["sha256"]:
            raise BadCheckpoint(f"the bytes of {name} are not those written")
    for key, value in made_by.items():
        if manifest["made_by"].get(key) != value:
            raise BadCheckpoint(f"it was made with {key} {manifest['made_by'].get(key)}, not {value}")


def newest_verified(folder: Path, made_by: Mapping[str, Any]) -> Path | None:
    """The newest checkpoint that can be resumed from; those newer than it that cannot are set aside."""
    for checkpoint in reversed(_checkpoints(folder)):
        try:
            verify(checkpoint, made_by)
        except BadCheckpoint as reason:
            aside = checkpoint.with_name(_ASIDE + checkpoint.name)
            shutil.rmtree(aside, ignore_errors=True)
            checkpoint.rename(aside)
            say(f"{checkpoint.name} is set aside: {reason}")
        else:
            return checkpoint
    return None


def retain(folder: Path) -> None:
    """Delete all but the newest `KEEP` finished checkpoints, and what earlier attempts set aside."""
    finished = [c for c in _checkpoints(folder) if is_complete(c)]
    for old in [*finished[:-KEEP], *folder.glob(f"{_ASIDE}*")]:
        shutil.rmtree(old)


def need_space(folder: Path, needed: int) -> None:
    """Raise TrainingError unless `needed` bytes and a little more are free where `folder` is."""
    free = shutil.disk_usage(folder).free
    if free < needed + _SPARE_BYTES:
        raise TrainingError(
            f"{folder}: {free / 1e9:.2f} GB are free, {(needed + _SPARE_BYTES) / 1e9:.2f} GB are needed to save; "
            "free some space and run the job again, it goes on from its last checkpoint"
        )


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix(_PREFIX))


def at_step(folder: Path, step: int) -> Path:
    return folder / f"{_PREFIX}{step}"


def _checkpoints(folder: Path) -> list[Path]:
    found = [p for p in folder.glob(f"{_PREFIX}*") if p.name.removeprefix(_PREFIX).isdigit()]
    return sorted(found, key=step_of)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
