"""Releases of a package index read as archives: fetched by exact file name and hash, never installed or executed.

A release lies in `<cache>/releases/<sha256>/<file>`, written once and only after its hash was seen to be right;
with it there, nothing needs a network. Members are copied out by `archives`.

pip resolves its options itself (files, environment, defaults), so a company's mirror, its certificates and its
proxy work here as they do for pip, and no host is written down in this project.
"""

import hashlib
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from filelock import FileLock
from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename

from corpora.sources.archives import extract
from corpora.sources.raw import Fetched
from lineage.errors import CorpusError
from lineage.files import atomically
from lineage.hashing import file_digest, fingerprint
from recipes.sources import Origin

if TYPE_CHECKING:
    from unearth import Link
    from unearth.fetchers import Fetcher, PyPIClient


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


def download(uri: str, release: str, sha256: str, target: Path) -> None:
    """Write the release file to `target`, atomically and only if its hash is right.

    Raises CorpusError: no network, no index has the file, wrong hash, or the transfer broke off.
    """
    import httpx2

    options = _pip_options(uri)
    with _client(options) as client:
        link = _find(uri, release, client, options)
        try:
            with atomically(target, durable=True) as partial:
                found = _stream(client, link, partial)
                if found != sha256:
                    raise CorpusError(
                        f"{uri}: wrong sha256 of {release}: expected {sha256}, found {found}. "
                        "Correct sha256 in the recipe if the file is trusted; nothing was kept"
                    )
        except httpx2.HTTPError as error:
            raise CorpusError(
                f"{uri}: the download of {release} from {_host(link.url)} failed ({_short(error)}); run it again"
            ) from None


def _find(uri: str, release: str, client: "PyPIClient", options: Any) -> "Link":
    """The link of exactly this file from the first place that has it."""
    import httpx2
    from unearth import PackageFinder

    project = _project(uri, release)
    folders = [place for place in options.find_links if "://" in place or os.path.exists(place)]
    places = [(place, PackageFinder.add_find_links) for place in folders]
    places += [(index, PackageFinder.add_index_url) for index in _index_urls(options)]
    asked, unreachable = [], []
    for url, add in places:
        asked.append(_host(url))
        finder = PackageFinder(session=cast("Fetcher", client), ignore_compatibility=True)
        finder.sources.clear()
        add(finder, url)
        try:
            packages = finder.find_all_packages(project, allow_yanked=True)
            match = next((p.link for p in packages if p.link.filename == release), None)
        except httpx2.HTTPError as error:
            unreachable.append(f"{_host(url)} ({_short(error)})")
            continue
        if match is not None:
            return match
    if unreachable:
        raise CorpusError(
            f"{uri}: no network: {release} is not in the cache and the package index cannot be reached: "
            f"{', '.join(unreachable)}. Check the connection and `pip config list`"
        )
    raise CorpusError(
        f"{uri}: no package index has the release file {release} (asked {', '.join(asked) or 'none'}). "
        f"Check the file name against the files of '{project}' and `pip config list`"
    )


def _stream(client: "PyPIClient", link: "Link", target: Path) -> str:
    """Write the linked bytes to `target` and return their sha256."""
    hasher = hashlib.sha256()
    with client.get_stream(link.url_without_fragment) as response, target.open("wb") as file:
        response.raise_for_status()
        for block in response.iter_bytes(1 << 20):
            hasher.update(block)
            file.write(block)
    return hasher.hexdigest()


def _pip_options(uri: str) -> Any:
    """The options `pip download` would run with, resolved by pip itself."""
    from pip._internal.commands import create_command

    try:
        options, _ = create_command("download").parse_args([])
    except SystemExit:
        raise CorpusError(f"{uri}: pip's configuration cannot be read; run `pip config debug`") from None
    return options


def _index_urls(options: Any) -> list[str]:
    return [] if options.no_index else [options.index_url, *options.extra_index_urls]


@contextmanager
def _client(options: Any) -> "Iterator[PyPIClient]":
    import httpx2
    from unearth.auth import MultiDomainBasicAuth
    from unearth.fetchers import PyPIClient

    # unearth warns of every index that lacks the project, which is no news when a later one has it
    logging.getLogger("unearth").addHandler(logging.NullHandler())
    verify = httpx2.create_ssl_context(verify=options.cert or True)
    client = PyPIClient(
        trusted_hosts=options.trusted_hosts,
        verify=verify,
        cert=options.client_cert,
        timeout=options.timeout,
        follow_redirects=True,
        proxy=options.proxy or None,
        event_hooks={"response": [_refuse_server_error]},
    )
    client.auth = MultiDomainBasicAuth(prompting=False, index_urls=_index_urls(options))
    with client:
        yield client


def _refuse_server_error(response: Any) -> None:
    """An index that answers 401, 403 or 5xx does not say that it lacks a file."""
    if response.status_code >= 500 or response.status_code in (401, 403):
        response.raise_for_status()


def _project(uri: str, release: str) -> str:
    try:
        if release.endswith(".whl"):
            return parse_wheel_filename(release)[0]
        return parse_sdist_filename(release)[0]
    except (InvalidWheelFilename, InvalidSdistFilename):
        raise CorpusError(f"{uri}: '{release}' is not the file name of a wheel or sdist") from None


def _host(url: str) -> str:
    """Host and port of a URL, without credentials; a local path as it is."""
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2] or url


def _short(error: Exception) -> str:
    return str(error).split("\n", 1)[0] or type(error).__name__


def _parts(origin: Origin) -> tuple[str, str]:
    release, _, member = origin.uri.partition("://")[2].partition("/")
    return release, member
