"""`hf://<org>/<name>[@<revision>][?config=&split=&streaming=]`, or a local folder in hub layout, `hf:///absolute/folder`.

A revision that is not a commit is resolved to its current one, which then is the identity; a local folder is
identified by its bytes. Datasets are read by the `datasets` library once and kept as JSONL in a folder of their
own content, because the library's cache is keyed by path and time and would serve old rows.
"""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from corpora.sources.arrow_values import plain, said
from corpora.sources.local import MODEL_FILES, files_of, folder_files
from corpora.sources.raw import Fetched, RawFile
from lineage.errors import CorpusError
from lineage.files import atomically
from lineage.hashing import file_digest, fingerprint, tree_digest
from recipes.sources import Model, Origin

_HUB_FILES = tuple(pattern for pattern in MODEL_FILES if pattern != "*.gguf")
"""Repositories keep many quantisations of one model side by side as GGUF; none of them is the model itself."""

_SAVED, _SAVED_SPLITS = "state.json", "dataset_dict.json"
"""Files that `save_to_disk` writes beside a dataset's rows, and above its splits."""

_CAUSES, _LONGEST_CAUSE = 3, 600
_WRITING = 2
"""Of how rows of Arrow become JSON."""

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
    target = cache / "hf" / digest / _file_name(spec)
    if not target.is_file():
        with atomically(target) as partial, partial.open("w", encoding="utf-8") as file:
            if spec.streaming:
                json.dump({"uri": origin.uri, "dataset": _dataset(origin.uri, spec)}, file)
            else:
                with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
                    for row in _rows(origin.uri, spec, Path(scratch)):
                        file.write(row + "\n")
    return Fetched([RawFile(target.name, target)], digest)


def _file_name(spec: _Spec) -> str:
    kind = "rows" if spec.streaming else f"{_WRITING}.jsonl"
    return f"{spec.config or 'default'}.{spec.split}.{kind}"


def stream(place: Path) -> Iterator[dict[str, Any]]:
    """Every row of a dataset from where it lies, as `fetch` noted it at `place`; none of them is kept on disk.

    Raises CorpusError.
    """
    noted = json.loads(place.read_text(encoding="utf-8"))
    with _hub_errors(noted["uri"]):
        yield from _loaded(noted["dataset"], streaming=True)


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
        for row in _loaded(_dataset(uri, spec), cache_dir=str(scratch)):
            told = {name: said(value) for name, value in row.items()}
            yield json.dumps(told, ensure_ascii=False, default=lambda raw: {"bytes": plain(raw)})
    shutil.rmtree(scratch, ignore_errors=True)


def _loaded(told: dict[str, Any], **settings: Any) -> Any:
    """The rows of a dataset; also of a local folder that `save_to_disk` wrote. Metadata that a local folder holds of
    its own files may be older than these."""
    import datasets

    folder = Path(told["path"])
    if (folder / _SAVED).is_file() or (folder / _SAVED_SPLITS).is_file():
        saved = datasets.load_from_disk(told["path"])
        if not isinstance(saved, dict) and (told["name"] is not None or told["split"] != "train"):
            raise ValueError("it was saved as one table without configs and splits; leave config and split out")
        if not isinstance(saved, dict):
            return saved
        if told["split"] not in saved:
            raise ValueError(f"its splits are {', '.join(saved)}; name one, as in ?split={next(iter(saved), 'train')}")
        return saved[told["split"]]
    if not folder.is_absolute():
        return datasets.load_dataset(**told, **settings)
    _must_lie_inside(folder, told)
    return datasets.load_dataset(**told, verification_mode="no_checks", **settings)


def _must_lie_inside(folder: Path, told: dict[str, Any]) -> None:
    """Raises ValueError if a folder's own description takes rows from elsewhere, which its identity does not know."""
    import datasets

    with tempfile.TemporaryDirectory() as scratch:
        builder = datasets.load_dataset_builder(told["path"], told["name"], cache_dir=scratch)
    named = [str(file) for files in (builder.config.data_files or {}).values() for file in files]
    inside = {Path(os.path.abspath(folder)), folder.resolve()}  # as named: the hub's own cache holds links
    if outside := next((file for file in named if not _lies_in(file, inside)), None):
        raise ValueError(f"its description names a file outside the folder: {outside}")


def _lies_in(file: str, folders: set[Path]) -> bool:
    return any(Path(os.path.abspath(file)).is_relative_to(folder) for folder in folders)


def _dataset(uri: str, spec: _Spec) -> dict[str, Any]:
    """What `load_dataset` is told: a commit, so that all reads see the same rows."""
    told: dict[str, Any] = {"path": spec.repository, "name": spec.config, "split": spec.split}
    return told if spec.folder is not None else {**told, "revision": _commit(Origin(uri=uri), spec)}


@contextmanager
def _hub_errors(uri: str) -> Iterator[None]:
    """One plain error for what the hub's libraries raise: no network, no such repository, revision or split."""
    import datasets
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        yield
    except HfHubHTTPError as error:
        reason = f"the hub refuses it ({_in_full(error)}); check name and revision, and `hf auth login`"
    except (httpx2.HTTPError, ConnectionError) as error:
        reason = f"no network: the hub cannot be reached ({_in_full(error)}); use a local copy"
    except HFValidationError as error:
        reason = f"not the name of a repository: {_in_full(error)}"
    except (datasets.exceptions.DatasetsError, ValueError, OSError, OverflowError, LookupError) as error:
        beside = "; read as a folder, without hf://, broken rows are set aside" if uri.startswith("hf:///") else ""
        reason = f"the dataset cannot be read: {_in_full(error)}{beside}"
    else:
        return
    raise CorpusError(f"{uri}: {reason}") from None


def _in_full(error: BaseException) -> str:
    """What a library says, with the causes that it gives."""
    told: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(told) < _CAUSES:
        words = " ".join(str(cause).split())
        told.append(f"{type(cause).__name__}: {words[:_LONGEST_CAUSE]}" if words else type(cause).__name__)
        cause = cause.__cause__
    return "; ".join(told)


def _parse(uri: str) -> _Spec:
    place, _, query = uri.partition("://")[2].partition("?")
    given = dict(parse_qsl(query))
    unknown = sorted(set(given) - {"config", "split", "streaming"})
    if unknown or given.get("streaming", "true") not in ("true", "false"):
        raise CorpusError(f"{uri}: an hf uri takes config, split and streaming=true or false, not {unknown or given}")
    repository, _, revision = (place, "", "") if place.startswith("/") else place.partition("@")
    if not repository.strip("/"):
        raise CorpusError(f"{uri}: an hf uri is hf://<org>/<name>[@<revision>] or hf:///absolute/folder")
    return _Spec(
        repository, revision or None, given.get("config"), given.get("split", "train"), given.get("streaming") == "true"
    )
