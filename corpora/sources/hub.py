"""`hf://<org>/<name>[@<revision>][?config=&split=&streaming=]`, or a local folder in hub layout, `hf:///absolute/folder`.

A revision that is not a commit is resolved to its current one, which then is the identity; a local folder is
identified by its bytes. Datasets are read by the `datasets` library once and kept as JSONL in a folder of their
own content, because the library's cache is keyed by path and time and would serve old rows.
"""

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from corpora.sources.local import MODEL_FILES, files_of, folder_files
from corpora.sources.raw import Fetched, RawFile
from lineage.errors import CorpusError
from lineage.files import atomically
from lineage.hashing import file_digest, fingerprint, tree_digest
from recipes.sources import Model, Origin

_HUB_FILES = tuple(pattern for pattern in MODEL_FILES if pattern != "*.gguf")
"""Repositories keep many quantisations of one model side by side as GGUF; none of them is the model itself."""

_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class _Spec:
    repository: str
    revision: str | None
    config: str | None
    split: str
    streaming: bool

    @property
    def folder(self) -> Path | None:
        """The local folder in hub layout, or None for a repository of the hub."""
        return Path(self.repository) if self.repository.startswith("/") else None


def observe(origin: Origin, folder: Path, cache: Path) -> str:
    """Digest of repository, commit and what is read of it; of a local folder, its bytes. Raises CorpusError."""
    spec = _parse(origin.uri)
    if isinstance(origin, Model):
        return _model_digest(origin, spec)
    content = _content(origin, spec)
    return fingerprint({**content, "config": spec.config, "split": spec.split})


def fetch(origin: Origin, folder: Path, cache: Path) -> Fetched:
    """One JSONL file with every row of the dataset's split or, streaming, one that says where `stream` reads them.

    Raises CorpusError.
    """
    if isinstance(origin, Model):
        return fetch_model(origin, cache)
    spec = _parse(origin.uri)
    digest = observe(origin, folder, cache)
    target = cache / "hf" / digest / f"{spec.config or 'default'}.{spec.split}.{'rows' if spec.streaming else 'jsonl'}"
    if not target.is_file():
        with atomically(target) as partial, partial.open("w", encoding="utf-8") as file:
            if spec.streaming:
                json.dump({"uri": origin.uri, "dataset": _dataset(origin.uri, spec)}, file)
            else:
                with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
                    for row in _rows(origin.uri, spec, Path(scratch)):
                        file.write(row + "\n")
    return Fetched([RawFile(target.name, target)], digest)


def stream(place: Path) -> Iterator[dict[str, Any]]:
    """Every row of a dataset from where it lies, as `fetch` noted it at `place`; none of them is kept on disk.

    Raises CorpusError.
    """
    import datasets

    noted = json.loads(place.read_text(encoding="utf-8"))
    with _hub_errors(noted["uri"]):
        yield from datasets.load_dataset(**noted["dataset"], streaming=True)


def fetch_model(origin: Origin, cache: Path) -> Fetched:
    """The files of a model repository that are weights without code, configuration, tokenizer or template."""
    spec = _parse(origin.uri)
    if spec.folder is not None:
        return Fetched(files_of(origin, spec.folder), _model_digest(origin, spec))
    from huggingface_hub import snapshot_download

    commit = _commit(origin, spec)
    with _hub_errors(origin.uri):
        root = Path(snapshot_download(spec.repository, revision=commit, allow_patterns=list(_HUB_FILES)))
    return Fetched(folder_files(root, _HUB_FILES), fingerprint({"repository": spec.repository, "commit": commit}))


def _model_digest(origin: Origin, spec: _Spec) -> str:
    if spec.folder is not None:
        return tree_digest((file.name, file_digest(file.path)) for file in files_of(origin, spec.folder))
    return fingerprint({"repository": spec.repository, "commit": _commit(origin, spec)})


def _content(origin: Origin, spec: _Spec) -> dict[str, Any]:
    if spec.folder is None:
        return {"repository": spec.repository, "commit": _commit(origin, spec)}
    files = files_of(origin, spec.folder)
    return {"tree": tree_digest((file.name, file_digest(file.path)) for file in files)}


def _commit(origin: Origin, spec: _Spec) -> str:
    """The commit that the revision stands for now: itself, or what the hub answers."""
    if spec.revision is not None and _COMMIT.fullmatch(spec.revision):
        return spec.revision
    from huggingface_hub import HfApi

    kind = "model" if isinstance(origin, Model) else "dataset"
    with _hub_errors(origin.uri):
        commit: str | None = HfApi().repo_info(spec.repository, revision=spec.revision, repo_type=kind).sha
    if commit is None:
        raise CorpusError(f"{origin.uri}: the hub names no commit for it; pin one with @<commit>")
    return commit


def _rows(uri: str, spec: _Spec, scratch: Path) -> Iterator[str]:
    """Every row of the split as one line of JSON; NaN stays NaN, for the line reader to refuse."""
    import datasets

    datasets.disable_progress_bars()
    with _hub_errors(uri):
        rows = datasets.load_dataset(**_dataset(uri, spec), cache_dir=str(scratch))
        for index, row in enumerate(rows):
            try:
                yield json.dumps(row, ensure_ascii=False, default=_plain)
            except TypeError as error:
                raise CorpusError(f"{uri}: row {index} of split '{spec.split}' is not text: {error}") from None
    shutil.rmtree(scratch, ignore_errors=True)


def _dataset(uri: str, spec: _Spec) -> dict[str, Any]:
    """What `load_dataset` is told: a commit, so that all reads see the same rows."""
    told: dict[str, Any] = {"path": spec.repository, "name": spec.config, "split": spec.split}
    return told if spec.folder is not None else {**told, "revision": _commit(Origin(uri=uri), spec)}


def _plain(value: Any) -> str:
    """Dates and times as ISO 8601; anything else has no place in a row of text."""
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    raise TypeError(f"a field holds {type(value).__name__}")


@contextmanager
def _hub_errors(uri: str) -> Iterator[None]:
    """One plain error for what the hub's libraries raise: no network, no such repository, revision or split."""
    import datasets
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        yield
    except HfHubHTTPError as error:
        reason = f"the hub refuses it ({_first_line(error)}); check name and revision, and `hf auth login`"
    except (httpx2.HTTPError, ConnectionError) as error:
        reason = f"no network: the hub cannot be reached ({_first_line(error)}); use a local copy"
    except HFValidationError as error:
        reason = f"not the name of a repository: {_first_line(error)}"
    except (datasets.exceptions.DatasetsError, ValueError, OSError) as error:
        reason = f"the dataset cannot be read: {_first_line(error)}"
    else:
        return
    raise CorpusError(f"{uri}: {reason}") from None


def _first_line(error: Exception) -> str:
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _parse(uri: str) -> _Spec:
    place, _, query = uri.partition("://")[2].partition("?")
    given = dict(parse_qsl(query))
    unknown = sorted(set(given) - {"config", "split", "streaming"})
    if unknown or given.get("streaming", "true") not in ("true", "false"):
        raise CorpusError(f"{uri}: an hf uri takes config, split and streaming=true or false, not {unknown or given}")
    repository, _, revision = place.partition("@")
    if not repository.strip("/"):
        raise CorpusError(f"{uri}: an hf uri is hf://<org>/<name>[@<revision>] or hf:///absolute/folder")
    return _Spec(
        repository, revision or None, given.get("config"), given.get("split", "train"), given.get("streaming") == "true"
    )
