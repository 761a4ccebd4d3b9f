"""Where raw text and base models come from: one entry for every scheme of a recipe's `uri`.

`observe` says which content a source has now, as cheaply as the scheme allows; `fetch` puts that content on
disk as ordinary files. Each scheme is a module of its own (`local`, `package_index`, `gym`, `hub`, `objects`, `web`,
`labels`); what the rows in a file mean is left to `reading`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from corpora.sources import gym, hub, labels, local, objects, package_index, web
from corpora.sources.raw import Fetched, RawFile
from lineage.errors import CorpusError
from recipes.sources import Origin

__all__ = ["Fetched", "RawFile", "fetch", "fetch_model", "observe"]


@dataclass(frozen=True)
class _Scheme:
    observe: Callable[[Origin, Path, Path], str]
    fetch: Callable[[Origin, Path, Path], Fetched]


_SCHEMES = {
    "path": _Scheme(local.observe, local.fetch),
    "pypi": _Scheme(package_index.observe, package_index.fetch),
    "gym": _Scheme(gym.observe, gym.fetch),
    "hf": _Scheme(hub.observe, hub.fetch),
    "s3": _Scheme(objects.observe, objects.fetch),
    "gs": _Scheme(objects.observe, objects.fetch),
    "https": _Scheme(web.observe, web.fetch),
    "labels": _Scheme(labels.observe, labels.fetch),
}


def observe(origin: Origin, folder: Path, cache: Path) -> str:
    """Digest (64 hex digits) of the content that `fetch` would deliver now.

    folder: where the recipe lies, for relative paths. cache: where downloads are kept. Only `hf://` at a
    branch or tag, `s3://` and `gs://` ask the network. Raises CorpusError.
    """
    return _SCHEMES[origin.scheme].observe(origin, folder, cache)


def fetch(origin: Origin, folder: Path, cache: Path) -> Fetched:
    """The content of a source as files on disk, downloaded or generated at most once. Raises CorpusError."""
    return _SCHEMES[origin.scheme].fetch(origin, folder, cache)


def fetch_model(origin: Origin, folder: Path, cache: Path) -> Fetched:
    """The files of a base model: weights as safetensors or GGUF, configuration, tokenizer, template.

    Pickled weights and code are never among them. Raises CorpusError, also when there are no weights.
    """
    if origin.scheme in ("gym", "labels"):
        raise CorpusError(f"{origin.uri}: a model cannot come from {origin.scheme}://")
    found = hub.fetch_model(origin, cache) if origin.scheme == "hf" else fetch(origin, folder, cache)
    if not any(file.path.suffix in (".safetensors", ".gguf") for file in found.files):
        names = ", ".join(file.name for file in found.files[:8])
        raise CorpusError(f"{origin.uri}: no .safetensors or .gguf weights among its files ({names})")
    return found
