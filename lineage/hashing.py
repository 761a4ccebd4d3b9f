"""The one hasher: canonical JSON, fingerprints of requests, digests of files.

Two helpers that hash the same thing with different keys miss each other's artefacts, so every
identity in the tree comes from here. Values without one obvious serialisation are refused
instead of being guessed.
"""

import hashlib
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_BLOCK = 1 << 20


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces.

    Raises TypeError for what has no canonical form: objects, sets, bytes, paths, non-string keys,
    NaN and infinities.
    """
    _refuse_unhashable(value, "$")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def fingerprint(payload: Any) -> str:
    """sha256 (64 hex digits) of the canonical JSON of `payload`."""
    return text_digest(canonical_json(payload))


def text_digest(text: str) -> str:
    """sha256 (64 hex digits) of a string's UTF-8 bytes; lone surrogates are kept as they are."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def file_digest(path: Path) -> str:
    """sha256 (64 hex digits) of a file, read in blocks of 1 MiB."""
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            hasher.update(block)
    return hasher.hexdigest()


def tree_digest(files: Iterable[tuple[str, str]]) -> str:
    """Digest of a set of files from their (relative POSIX path, sha256) pairs, in any order."""
    return fingerprint(sorted([path, sha] for path, sha in files))


def _refuse_unhashable(value: Any, where: str) -> None:
    if value is None or isinstance(value, bool | int | str):
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            raise TypeError(f"{where}: {value} has no canonical JSON")
        return
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"{where}: key {key!r} is not a string")
            _refuse_unhashable(item, f"{where}.{key}")
        return
    if isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _refuse_unhashable(item, f"{where}[{index}]")
        return
    raise TypeError(f"{where}: a {type(value).__name__} has no canonical JSON")
