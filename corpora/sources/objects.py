"""Objects of a store, `s3://bucket/key` and `gs://bucket/key`: one, a glob, or all below a prefix.

The version of an object is what its store says without a download: generation, or entity tag, and size. An object
is downloaded once for each version and kept under it, so that a changed one is never read from the cache.
Credentials come from the environment alone, as the stores' own libraries find them (`AWS_…`, `AWS_ENDPOINT_URL`,
`GOOGLE_APPLICATION_CREDENTIALS`, a machine's role); a recipe has no place for any.
"""

import glob
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from corpora.sources.local import MODEL_FILES
from corpora.sources.raw import Fetched, RawFile
from lineage.errors import CorpusError
from lineage.files import atomically
from lineage.hashing import file_digest, fingerprint, tree_digest
from recipes.sources import Model, Origin

_EXTRAS = {"s3": ("s3fs", "s3"), "gs": ("gcsfs", "gs")}


def observe(origin: Origin, folder: Path, cache: Path) -> str:
    """Digest of the names and versions of the objects; of one pinned by sha256, of that. Raises CorpusError."""
    with _store(origin) as store:
        return _digest(origin, _objects(origin, store))


def fetch(origin: Origin, folder: Path, cache: Path) -> Fetched:
    """The objects as files in the cache. Raises CorpusError."""
    with _store(origin) as store:
        found = _objects(origin, store)
        files = [_downloaded(origin, store, name, version, cache) for name, version in found.items()]
    return Fetched(files, _digest(origin, found))


def _digest(origin: Origin, found: dict[str, dict[str, Any]]) -> str:
    if origin.sha256 is not None:
        return fingerprint({"sha256": origin.sha256})
    return tree_digest((name, fingerprint(_version(about))) for name, about in found.items())


def _version(about: dict[str, Any]) -> dict[str, Any]:
    """What of an object changes with its bytes."""
    tag = about.get("generation") or about.get("ETag") or about.get("etag")
    if tag is None:
        raise CorpusError(f"{about['name']}: its store gives neither a generation nor an entity tag to know it by")
    return {"tag": str(tag), "size": about["size"]}


def _objects(origin: Origin, store: Any) -> dict[str, dict[str, Any]]:
    """What the store says of each object, by a name that stays when bucket or prefix change, in order."""
    path = origin.uri.partition("://")[2].rstrip("/")
    found: dict[str, dict[str, Any]]
    if glob.has_magic(path):
        found = store.glob(path, detail=True)
        root = "/".join(_fixed_part(path))
    elif store.isfile(path):
        found, root = {path: store.info(path)}, str(PurePosixPath(path).parent)
    else:
        found, root = store.find(path, detail=True), path
    files = {name: about for name, about in sorted(found.items()) if about["type"] == "file" and about["size"]}
    if isinstance(origin, Model):
        files = {n: about for n, about in files.items() if any(PurePosixPath(n).match(p) for p in MODEL_FILES)}
    if not files:
        raise CorpusError(f"{origin.uri}: no such object, and none below it that is not empty")
    if origin.sha256 is not None and len(files) != 1:
        raise CorpusError(f"{origin.uri}: sha256 is for one file, but {len(files)} objects match")
    return {str(PurePosixPath(name).relative_to(root)): about for name, about in files.items()}


def _fixed_part(pattern: str) -> list[str]:
    """The folders of a pattern before its first wildcard."""
    folders = pattern.split("/")[:-1]
    return folders[: next((n for n, folder in enumerate(folders) if glob.has_magic(folder)), len(folders))]


def _downloaded(origin: Origin, store: Any, name: str, about: dict[str, Any], cache: Path) -> RawFile:
    """The object of this version in the cache, written once it is whole and, if pinned, seen to be right."""
    target = cache / "objects" / fingerprint({"name": about["name"], **_version(about)}) / PurePosixPath(name).name
    if not target.is_file():
        with atomically(target) as partial:
            store.get_file(about["name"], str(partial))
            if _version(store.info(about["name"])) != _version(about):
                raise CorpusError(f"{origin.uri}: {name} changed while it was read; run it again")
    if origin.sha256 is not None and (digest := file_digest(target)) != origin.sha256:
        raise CorpusError(f"{origin.uri}: wrong sha256: expected {origin.sha256}, found {digest}")
    return RawFile(name, target)


@contextmanager
def _store(origin: Origin) -> Iterator[Any]:
    """The object store, and one plain error for what its library raises, without what a request was made of."""
    import fsspec

    library, extra = _EXTRAS[origin.scheme]
    logging.getLogger(library).setLevel(logging.ERROR)  # gcsfs warns at every request that it cannot ask for more
    try:
        store = fsspec.filesystem(origin.scheme, skip_instance_cache=True, use_listings_cache=False)
    except ImportError:
        raise CorpusError(f"{origin.uri}: needs {library}; install it with `pip install -e '.[{extra}]'`") from None
    except Exception as error:
        raise CorpusError(f"{origin.uri}: {_reason(error)}") from None
    try:
        yield store
    except CorpusError:
        raise
    except Exception as error:
        raise CorpusError(f"{origin.uri}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """Kind of error and what to do; its own words may quote a request with its signature, so they are not told."""
    kinds = [kind.__name__ for kind in type(error).__mro__]
    if "FileNotFoundError" in kinds:
        return "no such bucket or object"
    if "PermissionError" in kinds or "NoCredentialsError" in kinds or "DefaultCredentialsError" in kinds:
        return "access refused; credentials come from the environment of this process"
    return f"the object store cannot be read ({type(error).__name__}); check network, endpoint and credentials"
