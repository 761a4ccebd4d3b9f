"""Small corpora for tests: files, sources and clean folders made on the spot."""

import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

from corpora.cleaning.clean import clean
from lineage.hashing import file_digest
from recipes.sources import Source


def source(uri: str, **fields: Any) -> Source:
    return Source.model_validate({"uri": uri, "group": "general", "licence": "MIT", **fields})


def write_jsonl(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def talk(asked: str, answered: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]}


def cleaned(folder: Path, name: str, rows: list[Any], **fields: Any) -> Path:
    """The clean folder of a corpus of these rows."""
    folder.mkdir(exist_ok=True)
    write_jsonl(folder / f"{name}.jsonl", rows)
    work = folder / f"clean_{name}"
    work.mkdir()
    clean(name, source(f"{name}.jsonl", **fields), folder, folder / "cache", work)
    return work


def wheel(path: Path, members: dict[str, str]) -> str:
    """Write an archive named like a wheel and return its sha256."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return file_digest(path)


def sdist(path: Path, members: dict[str, str], links: dict[str, str]) -> str:
    """Write an archive named like an sdist, with symbolic links, and return its sha256."""
    with tarfile.open(path, "w:gz") as archive:
        for name, text in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
        for name, target in links.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return file_digest(path)
