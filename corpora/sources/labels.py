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

_observed: dict[tuple[str, bool, Path], Fetched] = {}


def observe(origin: Origin, folder: Path, cache: Path) -> str:
    """Digest of the rows that stand now. Raises CorpusError."""
    found = _observed[_key(origin, cache)] = _now(origin, cache)
    return found.digest


def fetch(origin: Origin, folder: Path, cache: Path) -> Fetched:
    """One JSONL file: what this process observed last, as people may judge between the two, else what stands now.

    Raises CorpusError: no such labels, none yet, several kinds, sensitive ones unannounced.
    """
    known = _observed.get(_key(origin, cache))
    return known if known is not None and known.files[0].path.is_file() else _now(origin, cache)


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


def _now(origin: Origin, cache: Path) -> Fetched:
    name, _, query = origin.uri.partition("://")[2].partition("?")
    asked = parse_qs(query).get("kind", [None])[0]
    kind, found = exported(Labels(cache.parent, name), asked, origin.uri, _is_sensitive(origin))
    digest = digest_of(found)
    target = cache / "labels" / digest / f"{name}.{kind}.jsonl"
    if not target.is_file():
        write_rows(target, found)
    return Fetched([RawFile(target.name, target)], digest)


def _key(origin: Origin, cache: Path) -> tuple[str, bool, Path]:
    return origin.uri, _is_sensitive(origin), cache


def _is_sensitive(origin: Origin) -> bool:
    return bool(getattr(origin, "sensitive", False))
