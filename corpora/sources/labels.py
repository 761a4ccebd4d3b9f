"""`labels://<name>[?kind=…]`: what people said of answers in `temper label`, as rows of one format.

The database is that of the home folder, in which the cache lies, or the one that `TEMPER_LABELS` names. The data
version is that of the rows, so every new label moves it.
"""

import json
from pathlib import Path
from typing import Any, get_args
from urllib.parse import parse_qs

from corpora.labels.events import Verdict, kinds_of, rows
from corpora.labels.store import Labels, digest_of
from corpora.sources.raw import Fetched, RawFile
from lineage.errors import CorpusError
from lineage.files import atomically
from recipes.sources import Origin


def observe(origin: Origin, folder: Path, cache: Path) -> str:
    """Digest of the rows that stand now. Raises CorpusError."""
    return digest_of(_exported(origin, cache)[1])


def fetch(origin: Origin, folder: Path, cache: Path) -> Fetched:
    """One JSONL file. Raises CorpusError: no such labels, none yet, several kinds, sensitive ones unannounced."""
    name, found = _exported(origin, cache)
    digest = digest_of(found)
    target = cache / "labels" / digest / name
    if not target.is_file():
        write_rows(target, found)
    return Fetched([RawFile(name, target)], digest)


def write_rows(target: Path, found: list[dict[str, Any]]) -> None:
    with atomically(target) as partial, partial.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in found)


def exported(labels: Labels, kind: str | None, where: str, sensitive: bool) -> tuple[Verdict, list[dict[str, Any]]]:
    """The rows of a kind, by default the only one there is. where: named in errors, of which CorpusError is raised."""
    events, questions = labels.events(), labels.questions()
    there = kinds_of(events)
    if not there:
        raise CorpusError(f"{where}: nobody has judged yet; `temper label {labels.name}` opens the page")
    if kind is None and len(there) > 1:
        listed = ", ".join(f"{name} ({count})" for name, count in there.items())
        raise CorpusError(f"{where}: several kinds of judgement: {listed}; name one, as in ?kind={next(iter(there))}")
    chosen = next((one for one in get_args(Verdict) if one == (kind or next(iter(there)))), None)
    if chosen is None or chosen not in there:
        raise CorpusError(f"{where}: no judgement of kind '{kind}'; there are {', '.join(there)}")
    asked = {event.question for event in events if event.kind == chosen}
    if not sensitive and any(question.sensitive for id_, question in questions.items() if id_ in asked):
        raise CorpusError(f"{where}: some of the prompts are sensitive; say so of the source, sensitive: true")
    return chosen, list(rows(chosen, events, questions))


def _exported(origin: Origin, cache: Path) -> tuple[str, list[dict[str, Any]]]:
    name, _, query = origin.uri.partition("://")[2].partition("?")
    asked = parse_qs(query).get("kind", [None])[0]
    kind, found = exported(Labels(cache.parent, name), asked, origin.uri, getattr(origin, "sensitive", False))
    return f"{name}.{kind}.jsonl", found
