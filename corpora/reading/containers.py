"""What a file is by its name: how rows are kept in it, and whether it is compressed."""

from pathlib import PurePath
from typing import NamedTuple

from corpora.sources.raw import RawFile
from lineage.errors import CorpusError

_KINDS = {
    ".jsonl": "lines",
    ".ndjson": "lines",
    ".json": "json",
    ".txt": "text",
    ".csv": "delimited",
    ".tsv": "delimited",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".parquet": "parquet",
    ".rows": "stream",
}
_COMPRESSION = {".gz": "gzip", ".zst": "zstd"}


class Container(NamedTuple):
    """`kind` is one of lines, json, text, delimited, yaml, parquet and stream; `compression` gzip, zstd or None."""

    kind: str
    compression: str | None


def container_of(file: RawFile) -> Container:
    """Raises CorpusError for a name that no reader knows."""
    inner, outer = PurePath(file.path.stem).suffix.lower(), file.path.suffix.lower()
    compression = _COMPRESSION.get(outer)
    suffix = outer if compression is None else inner
    kind = _KINDS.get(suffix)
    if kind is None or (compression is not None and kind in ("parquet", "stream")):
        known = ", ".join(suffix for suffix, kind in _KINDS.items() if kind != "stream")
        raise CorpusError(
            f"{file.name}: rows are read from {known} files, all but .parquet also with .gz or .zst after it, "
            f"not '{suffix if compression is None else suffix + outer}'"
        )
    return Container(kind, compression)
