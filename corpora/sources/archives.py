"""Copy single members out of a wheel, zip or sdist, safely.

Only regular files that were asked for leave the archive: no links, no devices, no path that leads out of the
target folder, and nothing is executed.
"""

import difflib
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from corpora.sources.raw import RawFile
from lineage.errors import CorpusError
from lineage.files import atomically


class _Archive(Protocol):
    def files(self) -> dict[str, int]:
        """Size in bytes of every regular file, by member name."""

    def open(self, member: str) -> IO[bytes]:
        """The bytes of one member."""


def extract(uri: str, archive: Path, member: str, target: Path) -> list[RawFile]:
    """Copy the members that `member` names (a name or a glob) below `target`; those already there are kept.

    Raises CorpusError for a damaged archive, or a missing or unsafe member.
    """
    with _open(uri, archive) as opened:
        sizes = opened.files()
        found = []
        for name in _select(uri, archive.name, member, sorted(sizes)):
            path = target / name
            if not (path.is_file() and path.stat().st_size == sizes[name]):
                with opened.open(name) as source:
                    _write(source, path)
            found.append(RawFile(name, path))
    return found


def _select(uri: str, archive: str, member: str, names: list[str]) -> list[str]:
    """The exact name, else all that match as a glob; `*` stays within one folder."""
    chosen = [member] if member in names else [name for name in names if PurePosixPath("/", name).match(f"/{member}")]
    if not chosen:
        raise CorpusError(f"{uri}: {archive} has no member '{member}'{_suggestion(member, names)}")
    for name in chosen:
        if name.startswith("/") or "\\" in name or ".." in PurePosixPath(name).parts:
            raise CorpusError(f"{uri}: {archive} has an unsafe member name '{name}'; it is not extracted")
    return chosen


def _suggestion(member: str, names: list[str]) -> str:
    close = difflib.get_close_matches(member, names, n=3)
    if not close:
        base = PurePosixPath(member).name
        close = [name for name in names if PurePosixPath(name).name == base][:3]
    if close:
        return "; close to it are " + ", ".join(f"'{name}'" for name in close)
    folders = sorted({PurePosixPath(name).parts[0] for name in names})
    return f"; it holds {len(names)} files, at its top {', '.join(folders[:6])}"


def _write(source: IO[bytes], path: Path) -> None:
    with atomically(path) as partial, partial.open("wb") as file:
        shutil.copyfileobj(source, file, 1 << 20)


@contextmanager
def _open(uri: str, archive: Path) -> Iterator[_Archive]:
    try:
        if archive.suffix in (".whl", ".zip"):
            with zipfile.ZipFile(archive) as zipped:
                yield _Zip(zipped)
        else:
            with tarfile.open(archive, "r:gz") as tarred:
                yield _Tar(tarred)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError) as error:
        raise CorpusError(f"{uri}: {archive.name} cannot be read as an archive: {error}") from None


@dataclass(frozen=True)
class _Zip:
    zipped: zipfile.ZipFile

    def files(self) -> dict[str, int]:
        return {
            info.filename: info.file_size
            for info in self.zipped.infolist()
            if not info.is_dir() and not stat.S_ISLNK(info.external_attr >> 16)
        }

    def open(self, member: str) -> IO[bytes]:
        return self.zipped.open(member)


@dataclass(frozen=True)
class _Tar:
    tarred: tarfile.TarFile

    def files(self) -> dict[str, int]:
        return {info.name: info.size for info in self.tarred.getmembers() if info.isreg()}

    def open(self, member: str) -> IO[bytes]:
        opened = self.tarred.extractfile(member)
        if opened is None:
            raise tarfile.ReadError(f"{member} is not a regular file")
        return opened
