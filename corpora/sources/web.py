"""`https://host/path/file.jsonl` with `sha256`: one file of a web server, fetched once and kept by its hash.

The hash is the identity, so with the file in the cache nothing needs a network, and no server can give other bytes than
the recipe's. Proxies and certificates are those of the environment (`HTTPS_PROXY`, `SSL_CERT_FILE`).
"""

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from filelock import FileLock

from corpora.sources.raw import Fetched, RawFile
from corpora.work.progress import progress
from lineage.errors import CorpusError
from lineage.files import atomically
from lineage.hashing import file_digest, fingerprint
from recipes.sources import Origin

_AS_IT_IS = {"Accept-Encoding": "identity"}
_CHUNK = 1 << 20
_TIMEOUT_S = 30.0


def observe(origin: Origin, folder: Path, cache: Path) -> str:
    """Digest of the file's name and pinned hash; nobody is asked."""
    return fingerprint({"name": _name(origin), "sha256": origin.sha256})


def fetch(origin: Origin, folder: Path, cache: Path) -> Fetched:
    """The file in the cache, downloaded if it is not there. Raises CorpusError: no network, refused, another hash."""
    target = cache / "web" / str(origin.sha256) / _name(origin)
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.parent / ".lock"):
        if target.is_file() and file_digest(target) != origin.sha256:
            target.unlink()
        if not target.is_file():
            _download(origin, target)
    return Fetched([RawFile(target.name, target)], observe(origin, folder, cache))


def _download(origin: Origin, target: Path) -> None:
    """Write the file to `target`, atomically and only if its hash is right. Raises CorpusError."""
    import httpx2

    hasher = hashlib.sha256()
    try:
        with (
            httpx2.Client(follow_redirects=True, timeout=_TIMEOUT_S, headers=_AS_IT_IS) as client,
            client.stream("GET", origin.uri) as response,
            atomically(target, durable=True) as partial,
            partial.open("wb") as file,
            _progress(target.name, response.headers.get("content-length")) as advance,
        ):
            if response.url.scheme != "https":
                raise CorpusError(f"{origin.uri}: leads to a place that is not https")
            response.raise_for_status()
            for block in response.iter_raw(_CHUNK):
                hasher.update(block)
                file.write(block)
                advance(len(block))
            if hasher.hexdigest() != origin.sha256:
                raise CorpusError(
                    f"{origin.uri}: wrong sha256: expected {origin.sha256}, found {hasher.hexdigest()}. Correct "
                    "sha256 in the recipe if the file is trusted; nothing was kept"
                )
    except httpx2.HTTPStatusError as error:
        raise CorpusError(f"{origin.uri}: the server answers {error.response.status_code}") from None
    except httpx2.HTTPError as error:
        raise CorpusError(f"{origin.uri}: the download failed ({type(error).__name__}); run it again") from None


def _progress(name: str, size: str | None) -> AbstractContextManager[Callable[[int], None]]:
    if size is None or not size.isdigit():
        return nullcontext(lambda _: None)
    return progress(f"download {name}", int(size), "bytes")


def _name(origin: Origin) -> str:
    """The file's name, which says what kind of rows it holds."""
    return PurePosixPath(unquote(urlsplit(origin.uri).path)).name
