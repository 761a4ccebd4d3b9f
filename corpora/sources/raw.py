"""What every kind of source hands over: files on disk, what identifies them, or one plain error."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RawFile:
    """A file of a source. `name` is POSIX, stable across machines, and what a row's origin refers to."""

    name: str
    path: Path


@dataclass(frozen=True)
class Fetched:
    """Files in a fixed order, and the digest that `observe` gives for the same origin."""

    files: list[RawFile]
    digest: str
