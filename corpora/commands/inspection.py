"""What a file, folder or URI is: its containers and format with the evidence, its rows good and bad, its lengths,
repeats and languages, its first rows.

Rows are read as a source's are, one at a time; in memory are 16 bytes for each distinct row and 8 for each length.
"""

import itertools
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import ValidationError

from corpora.cleaning.content import row_id, words
from corpora.cleaning.tally import Tally
from corpora.contamination.words import split
from corpora.data_report.samples import Languages, languages_of
from corpora.formats.formats import Format, Item, choose_format, reader
from corpora.formats.judgements import said
from corpora.formats.learning import MARKS
from corpora.reading.lines import BadRow, Block, Row, RowError, blocks, container_of, read_block
from corpora.reading.row import on_one_line
from corpora.sources import fetch
from corpora.sources.raw import RawFile
from corpora.work.progress import progress
from lineage.errors import CorpusError
from recipes.sources import Source

_SAMPLE = 200
"""Rows read to tell a format, as many as cleaning reads."""

_GIVEN = ("uri", "group", "licence")
"""What of a source's section is no setting of how it is read."""

_BLOCK_BYTES = 8 << 20
_LANGUAGE_ROWS = 1000
_LANGUAGE_CHARACTERS = 1000
_FIRST = 3
_TRIED = 20
"""Rows that are read again without each of their fields."""


class Why(NamedTuple):
    """How many rows are bad for one kind of reason, the first place, and all that is said of it there."""

    rows: int
    first: str
    reason: str


@dataclass
class Inspected:
    """What was found. words: of each good row. reasons: of bad rows, by their kind. unread: fields with words, of the
    first good rows, that change nothing of what is read."""

    files: list[RawFile]
    format: str | None = None
    kind: str | None = None
    evidence: str = ""
    read: int = 0
    good: int = 0
    repeats: int = 0
    reasons: dict[str, Why] = field(default_factory=dict)
    words: list[int] = field(default_factory=list)
    roles: Counter[str] = field(default_factory=Counter)
    first: list[Item] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    languages: Languages | None = None
    tally: Tally = field(default_factory=Tally)
    whole: bool = True

    @property
    def bad(self) -> int:
        return self.read - self.good

    def set_aside(self, file: str, line: int, reason: str) -> None:
        kind = reason.partition(":")[0]
        known = self.reasons.get(kind, Why(0, f"{file}:{line}", reason))
        self.reasons[kind] = known._replace(rows=known.rows + 1)


def inspected_source(place: str, settings: Mapping[str, Any]) -> Source:
    """A source from a place as a recipe names it, or a path. settings: of its section. Raises CorpusError."""
    uri = place if "://" in place else os.path.realpath(place)
    try:
        return Source.model_validate({"group": "inspected", "licence": "not stated", **settings, "uri": uri})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        said = first["msg"].removeprefix("Value error, ")
        raise CorpusError(f"{place}: {where}{': ' if where else ''}{said}") from None


def settings_of(given: Sequence[str]) -> dict[str, Any]:
    """A source's section from settings as `columns.messages=dialog`, values as in YAML. Raises CorpusError."""
    found: dict[str, Any] = {}
    for one in given:
        name, sign, value = one.partition("=")
        *sections, last = name.split(".")
        if not sign or not all((*sections, last)):
            raise CorpusError(f"'{one}': a setting is NAME=VALUE, as rows=data or columns.messages=dialog")
        if (sections or [last])[0] in _GIVEN:
            raise CorpusError(f"'{one}': {', '.join(_GIVEN)} are given otherwise")
        inside = found
        for section in sections:
            inside = inside.setdefault(section, {})
            if not isinstance(inside, dict):
                raise CorpusError(f"'{one}': {section} is set to a value already")
        try:
            inside[last] = yaml.safe_load(value)
        except yaml.YAMLError:
            inside[last] = value
    return found


def inspect(source: Source, cache: Path, most: int | None, keep: int = _FIRST) -> Inspected:
    """Look at every row, or the first `most`; keep the first `keep` good ones.

    Raises CorpusError if the files cannot be had or hold no rows.
    """
    files = fetch(source, Path.cwd(), cache).files
    found = Inspected(files)
    cut = blocks(files, _BLOCK_BYTES, source.rows)
    head = list(itertools.islice(itertools.chain.from_iterable(map(read_block, cut)), _SAMPLE))
    if not head:
        raise CorpusError(f"{source.uri}: no rows in {', '.join(file.name for file in files[:5])}")
    good = [row for row in head if isinstance(row, Row)]
    format_: Format | None = None
    try:
        format_, found.evidence = choose_format(source, None, good)
        found.format, found.kind = format_.name, format_.kind
    except CorpusError as error:
        found.evidence = str(error)
    if format_ is not None:
        found.unread = _unread(source, reader(source, format_), good[:_TRIED])
    _Looking(source, format_, found, keep).through(cut, most)
    return found


def unread_of(source: Source, folder: Path, cache: Path) -> list[str]:
    """What `Inspected.unread` says, of a recipe's source. folder: the recipe's. Raises CorpusError."""
    cut = blocks(fetch(source, folder, cache).files, _BLOCK_BYTES, source.rows)
    head = itertools.islice(itertools.chain.from_iterable(map(read_block, cut)), _SAMPLE)
    good = [row for row in head if isinstance(row, Row)]
    if not good or source.answers is not None:
        return []
    return _unread(source, reader(source, choose_format(source, None, good)[0]), good[:_TRIED])


def _unread(source: Source, read: Callable[[Row], list[Item]], rows: list[Row]) -> list[str]:
    """Fields that hold something, also those of turns, and without which each of these rows says the same."""
    category = (source.columns.category or "").partition(".")[0]
    names: dict[str, bool] = {}
    for row in rows:
        whole = _read_or_none(read, row, row.value)
        if whole is None:
            continue
        for name, rest in _without_each(row.value):
            names[name] = names.get(name, True) and _read_or_none(read, row, rest) == whole
    fields = {name for name, unread in names.items() if unread and "[]." not in name}
    apart = (name for name, unread in names.items() if unread and name.partition("[].")[0] not in fields - {name})
    return sorted(on_one_line(name) for name in apart if name != category)


def _without_each(fields: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Fields of a row, and keys of its turns as `messages[].text`, that say something, each with the row without it."""
    for name, value in fields.items():
        if _says_something(name, value):
            yield name, {other: held for other, held in fields.items() if other != name}
        turns = [turn for turn in value if isinstance(turn, dict)] if isinstance(value, list) else []
        keys = dict.fromkeys(key for turn in turns for key, held in turn.items() if _says_something(key, held))
        for key in keys:
            rest = [{k: held for k, held in one.items() if k != key} if isinstance(one, dict) else one for one in value]
            yield f"{name}[].{key}", {**fields, name: rest}


def _says_something(name: str, value: Any) -> bool:
    """Whether a field is not empty; a mark that says yes or no is heard also where that changes nothing."""
    return value not in (None, "", [], {}) and not (name in MARKS and said(value) is not None)


def _read_or_none(read: Callable[[Row], list[Item]], row: Row, value: dict[str, Any]) -> list[Item] | None:
    try:
        return read(replace(row, value=value))
    except RowError:
        return None


class _Looking:
    """One pass over the rows."""

    def __init__(self, source: Source, format_: Format | None, found: Inspected, keep: int) -> None:
        self._keep = keep
        self._read = None if format_ is None else reader(source, format_)
        self._found = found
        self._seen: set[bytes] = set()
        self._texts: list[str] = []
        self._draw = random.Random(0)

    def through(self, cut: list[Block], most: int | None) -> None:
        sizes = [_bytes(part) for part in cut]
        with progress("inspect", sum(sizes), "bytes") as advance:
            for part, size in zip(cut, sizes, strict=True):
                for row in _told(read_block(part), size, advance):
                    if most is not None and self._found.read >= most:
                        self._found.whole = False
                        break
                    self._look(row)
        self._found.languages = languages_of(self._texts) if self._found.kind else None

    def _look(self, row: Row | BadRow) -> None:
        if isinstance(row, BadRow):
            self._found.tally.set_aside(row)
            if row.part:
                return
        else:
            self._found.tally.met(row)
        self._found.read += 1
        if isinstance(row, BadRow):
            self._found.set_aside(row.file, row.line, row.reason)
            return
        if self._read is None:
            self._found.good += 1
            return
        try:
            items = self._read(row)
        except RowError as error:
            self._found.set_aside(row.file, row.line, str(error))
            return
        self._found.read += len(items) - 1
        for item in items:
            self._found.good += 1
            self._count(item, row)

    def _count(self, item: Item, row: Row) -> None:
        found, text = self._found, words(item, "row")
        key = bytes.fromhex(row_id(item, found.format or "", row.file, row.line))[:16]
        found.repeats += key in self._seen
        self._seen.add(key)
        found.words.append(len(split([text]).hashes))
        found.roles.update(message["role"] for message in vars(item).get("messages") or [])
        if len(found.first) < self._keep:
            found.first.append(item)
        self._sample(text[:_LANGUAGE_CHARACTERS])

    def _sample(self, text: str) -> None:
        """Keep each text so far with equal chance (reservoir sampling)."""
        if len(self._texts) < _LANGUAGE_ROWS:
            self._texts.append(text)
        elif (at := self._draw.randrange(self._found.good)) < _LANGUAGE_ROWS:
            self._texts[at] = text


def _bytes(part: Block) -> int:
    return (part.end if part.end is not None else part.file.path.stat().st_size) - part.start


def _told(rows: Iterator[Row | BadRow], size: int, advance: Any) -> Iterator[Row | BadRow]:
    """The rows of a block; how far it is told by their bytes, and at its end by what is left."""
    told = 0
    for row in rows:
        step = min(len(row.raw) + 1, size - told)
        told += step
        advance(step)
        yield row
    if told < size:
        advance(size - told)


def containers(files: list[RawFile]) -> dict[str, tuple[int, int]]:
    """Files and their bytes by kind of container, as `lines, gzip`."""
    found: dict[str, tuple[int, int]] = {}
    for file in files:
        kind = ", ".join(part for part in container_of(file) if part)
        count, size = found.get(kind, (0, 0))
        found[kind] = (count + 1, size + file.path.stat().st_size)
    return found
