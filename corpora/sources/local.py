"""Files of the machine itself: a path, a glob, or a folder, relative to the recipe."""

import glob
import re
from collections.abc import Iterator
from pathlib import Path, PurePath

from corpora.sources.raw import Fetched, RawFile
from lineage.errors import CorpusError
from lineage.hashing import file_digest, tree_digest
from recipes.section import Section
from recipes.sources import Columns, Model, Origin

MODEL_FILES = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model", "*.gguf")
"""What of a model's folder is read: weights without code in them, configuration, tokenizer, template."""


_DESCRIPTIONS = re.compile(
    r"(readme|licen[cs]e|changelog|citation|notice)([-_.]\w+)*(?<!\.jsonl)(?<!\.json)(?<!\.csv)(?<!\.tsv)(?<!\.parquet)"
    r"(?<!\.arrow)(?<!\.yaml)(?<!\.yml)(?<!\.gz)(?<!\.zst)|(dataset_info|dataset_infos|dataset_dict)\.json",
    re.IGNORECASE,
)
"""Names of files beside a dataset's rows, in the hub's layout and in that of `save_to_disk`; rows if alone."""

_OF_SAVED = ("dataset_info.json", "state.json")
"""What `save_to_disk` writes beside a table; `state.json` alone may be data."""

_SPLIT = re.compile(
    r"(?:^|[-_./])(train(?:ing)?|test(?:ing)?|validation|valid|val|dev|eval|held_?out)(?=[-_./]|$)", re.IGNORECASE
)


def observe(origin: Origin, folder: Path, cache: Path) -> str:
    """Digest of the names and bytes of the files. Raises CorpusError if there are none, or the hash is wrong."""
    return fetch(origin, folder, cache).digest


def fetch(origin: Origin, folder: Path, cache: Path) -> Fetched:
    """The files where they lie; nothing is copied."""
    files = _files(origin, folder)
    digests = [(file.name, file_digest(file.path)) for file in files]
    if origin.sha256 is not None:
        if len(files) != 1:
            raise CorpusError(f"{origin.uri}: sha256 is for one file, but {len(files)} files match")
        if digests[0][1] != origin.sha256:
            raise CorpusError(f"{origin.uri}: wrong sha256: expected {origin.sha256}, found {digests[0][1]}")
    return Fetched(files, tree_digest(digests))


def missing(section: Section, folder: Path, where: str = "") -> Iterator[str]:
    """What a recipe, or a section of it, names on this machine and is not there, each with its field."""
    if isinstance(section, Origin) and section.scheme == "path":
        try:
            _files(section, folder)
        except CorpusError as error:
            yield f"{where}uri: {error}"
    for name in ("chat_template", "answers") if not isinstance(section, Columns) else ():
        file = getattr(section, name, None)
        if isinstance(file, str) and not (folder / file).is_file():
            yield f"{where}{name}: no such file: {folder / file}"
    for name, value in section:
        named = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
        parts = [(name, value)] if named is None else [(f"{name}.{key}", part) for key, part in named]
        for place, part in parts:
            if isinstance(part, Section):
                yield from missing(part, folder, f"{where}{place}.")


def folder_files(root: Path, patterns: tuple[str, ...] = ("*",)) -> list[RawFile]:
    """Every file below a folder whose name matches, in order, but for hidden ones; links are followed, those that lead
    nowhere left out."""
    return [
        RawFile(path.relative_to(root).as_posix(), path)
        for path in sorted(_below(root, frozenset((root.resolve(),))))
        if path.is_file() and any(path.match(pattern) for pattern in patterns)
    ]


def _must_lead_somewhere(origin: Origin, root: Path) -> None:
    """Raises CorpusError for a link to rows that are not there."""
    lost = [path for path in _below(root, frozenset((root.resolve(),))) if not path.is_file()]
    if lost := [path for path in lost if not _DESCRIPTIONS.fullmatch(path.name)]:
        raise CorpusError(f"{origin.uri}: {min(lost)}: a link to what is not there")


def _below(folder: Path, seen: frozenset[Path]) -> Iterator[Path]:
    """seen: folders that lead here, which a link may lead back to."""
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir():
            real = path.resolve()
            yield from () if real in seen else _below(path, seen | {real})
        elif path.is_file() or path.is_symlink():
            yield path


def files_of(origin: Origin, root: Path) -> list[RawFile]:
    """The files of a folder; of a model's only `MODEL_FILES`. Raises CorpusError if there are none."""
    if not root.is_dir():
        raise CorpusError(f"{origin.uri}: no such folder: {root}")
    found = folder_files(root, MODEL_FILES) if isinstance(origin, Model) else folder_files(root)
    if not found:
        raise CorpusError(f"{origin.uri}: the folder {root} holds no files to read")
    return found


def _files(origin: Origin, folder: Path) -> list[RawFile]:
    path = folder / origin.uri
    if path.is_file():
        return [RawFile(path.name, path)]
    if path.is_dir():
        return files_of(origin, path) if isinstance(origin, Model) else _rows_of(origin, path)
    if not glob.has_magic(origin.uri):
        raise CorpusError(f"{origin.uri}: no such file; looked for {path}")
    root = _fixed_part(path)
    matches = sorted(Path(match) for match in glob.glob(str(path), recursive=True))
    found = [RawFile(match.relative_to(root).as_posix(), match) for match in matches if match.is_file()]
    if glob.has_magic(path.name) and not isinstance(origin, Model):
        found = _without_descriptions(found)
    if not found:
        raise CorpusError(f"{origin.uri}: no file matches; looked for {path}")
    return found


def _rows_of(origin: Origin, root: Path) -> list[RawFile]:
    """The files of a folder that hold rows, not those that describe them. Raises CorpusError if they are several
    splits, of which one is not to be trained on."""
    _must_lead_somewhere(origin, root)
    files = _without_descriptions(files_of(origin, root))
    splits = {found[1].lower(): file.name for file in files for found in _SPLIT.finditer(file.name)}
    if len(splits) > 1:
        listed = ", ".join(f"{split} in {name}" for split, name in sorted(splits.items()))
        split = next((split for split in splits if split.startswith("train")), min(splits))
        name = PurePath(splits[split])
        word = next(found[1] for found in _SPLIT.finditer(splits[split]) if found[1].lower() == split)
        own = name.parent / "*" if word in name.parent.parts else name.with_name(f"*{word}*")
        raise CorpusError(
            f"{origin.uri}: the folder holds several splits ({listed}); name one, as in {PurePath(origin.uri) / own}"
        )
    return files


def _without_descriptions(files: list[RawFile]) -> list[RawFile]:
    found = [file for file in files if not _DESCRIPTIONS.fullmatch(PurePath(file.name).name)] or files
    return [file for file in found if file.path.name != _OF_SAVED[1] or not file.path.with_name(_OF_SAVED[0]).is_file()]


def _fixed_part(pattern: Path) -> Path:
    """The folders of a pattern before its first wildcard, so that moving all files together changes no name."""
    fixed = Path(pattern.anchor)
    for part in pattern.relative_to(pattern.anchor).parts[:-1]:
        if glob.has_magic(part):
            break
        fixed /= part
    return fixed
