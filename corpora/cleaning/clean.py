"""One source, read into the common schema: bad rows into quarantine, exact repeats out, every row accounted for.

The step is fetch → lines → format → duplicates → parquet, one row at a time; only the hashes of the rows seen
stay in memory. Where the bytes come from is left to `sources`, what their fields mean to `formats`.
"""

import itertools
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from corpora.raw import CorpusError
from corpora.reading.answers import load_answers
from corpora.reading.conversations import Message
from corpora.reading.formats import Conversation, Document, Format, Item, category_of, choose_format, fitting
from corpora.reading.lines import BadRow, Row, RowError, read_rows
from corpora.sources import fetch
from corpora.tables import QUARANTINE, ROWS, clean_schema, quarantine_schema, writing
from lineage.hashing import fingerprint
from recipes.schema import Source

VERSION = 1

_SAMPLE = 200
"""Rows read to tell a format."""
_REASONS_SHOWN = 3


@dataclass
class _Tally:
    """What became of every row read."""

    read: int = 0
    kept: int = 0
    quarantined: int = 0
    duplicate: int = 0
    filtered: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    first: list[str] = field(default_factory=list)

    @property
    def conserved(self) -> bool:
        return self.read == self.kept + self.quarantined + self.duplicate + self.filtered

    @property
    def bad_share(self) -> float:
        """Quarantined rows among those looked at."""
        return self.quarantined / max(1, self.read - self.filtered)

    def set_aside(self, bad: BadRow) -> None:
        self.quarantined += 1
        self.reasons[bad.reason.partition(":")[0]] += 1
        if len(self.first) < _REASONS_SHOWN:
            self.first.append(f"{bad.file}:{bad.line}: {bad.reason}")


def clean(name: str, source: Source, folder: Path, cache: Path, work: Path) -> dict[str, Any]:
    """Write rows.parquet and quarantine.parquet into `work` and return the metrics.

    name: of the source in its recipe, whose folder is `folder`. Raises CorpusError if the source cannot be
    fetched, is empty, has no clear format, or more bad rows than `max_quarantined`.
    """
    answers = load_answers(folder / source.answers) if source.answers is not None else None
    fetched = fetch(source, folder, cache)
    found = (row for file in fetched.files for row in read_rows(file))
    sample = list(itertools.islice(found, _SAMPLE))
    good = [row for row in sample if isinstance(row, Row)]
    if not sample:
        files = ", ".join(file.name for file in fetched.files[:5])
        raise CorpusError(f"{source.uri}: source '{name}' is empty: no rows in {files}")
    if not good:
        raise CorpusError(_too_bad(name, source, _tally_of(sample)))
    format_, evidence = choose_format(source, answers, good)
    tally = _write(name, source, format_, itertools.chain(sample, found), work)
    if tally.bad_share > source.max_quarantined:
        raise CorpusError(_too_bad(name, source, tally))
    if not tally.kept:
        raise CorpusError(f"{source.uri}: source '{name}' is empty: none of its {tally.read} rows is left")
    return _metrics(source, format_, evidence, tally)


def content_id(item: Item) -> str:
    """sha256 of an item's words, Unicode-composed and with white space folded: equal for exact repeats."""
    if isinstance(item, Conversation):
        return fingerprint(_normal(item.messages))
    if isinstance(item, Document):
        return fingerprint(_fold(item.text))
    return fingerprint([_normal(item.prompt), _normal(item.chosen), _normal(item.rejected)])


def _normal(messages: list[Message]) -> list[list[str]]:
    return [[message["role"], _fold(message["content"])] for message in messages]


def _fold(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def _write(name: str, source: Source, format_: Format, found: Iterator[Row | BadRow], work: Path) -> _Tally:
    facts = {
        "kind": format_.kind,
        "source": name,
        "group": source.group,
        "licence": source.licence,
        "sensitive": source.sensitive,
    }
    tally, seen = _Tally(), set[bytes]()
    with (
        writing(work / ROWS, clean_schema(format_.kind), facts) as rows,
        writing(work / QUARANTINE, quarantine_schema()) as quarantine,
    ):
        for row in found:
            tally.read += 1
            if source.limit is not None and tally.read > source.limit:
                tally.filtered += 1
                continue
            record = _record(name, source, format_, row)
            if isinstance(record, BadRow):
                tally.set_aside(record)
                quarantine.add(asdict(record))
            elif (key := bytes.fromhex(record["id"])) in seen:
                tally.duplicate += 1
            else:
                seen.add(key)
                rows.add(record)
                tally.kept += 1
    return tally


def _record(name: str, source: Source, format_: Format, row: Row | BadRow) -> dict[str, Any] | BadRow:
    """The row in the common schema, or why it is not."""
    if isinstance(row, BadRow):
        return row
    if source.format == "auto":
        fitting(source.uri, row)
    try:
        item = format_.read(row.value)
        category = category_of(source, row.value)
    except RowError as error:
        return BadRow(row.file, row.line, row.byte_offset, str(error), row.raw)
    record = {
        **vars(item),
        "id": content_id(item),
        "source": name,
        "group": source.group,
        "origin": {"file": row.file, "line": row.line},
    }
    return {**record, "category": category} if isinstance(item, Conversation) else record


def _tally_of(bad: list[Row | BadRow]) -> _Tally:
    tally = _Tally(read=len(bad))
    for row in bad:
        if isinstance(row, BadRow):
            tally.set_aside(row)
    return tally


def _too_bad(name: str, source: Source, tally: _Tally) -> str:
    reasons = "\n".join(f"  {line}" for line in tally.first)
    return (
        f"{source.uri}: source '{name}': {tally.quarantined} of {tally.read - tally.filtered} rows cannot be used "
        f"({tally.bad_share:.1%}; max_quarantined is {source.max_quarantined:.1%}). The first of them:\n{reasons}\n"
        "Mend the source, name its `format` and `columns`, or raise max_quarantined"
    )


def _metrics(source: Source, format_: Format, evidence: str, tally: _Tally) -> dict[str, Any]:
    return {
        "read": tally.read,
        "kept": tally.kept,
        "quarantined": tally.quarantined,
        "duplicate": tally.duplicate,
        "filtered": tally.filtered,
        "kind": format_.kind,
        "format": format_.name,
        "evidence": evidence,
        "quarantine_reasons": dict(sorted(tally.reasons.items())),
        "licence": source.licence,
        "checks": {
            "rows_conserved": {
                "passed": tally.conserved,
                "blocking": True,
                "value": tally.read - tally.kept - tally.quarantined - tally.duplicate - tally.filtered,
                "description": (
                    f"{tally.read} read = {tally.kept} kept + {tally.quarantined} quarantined + "
                    f"{tally.duplicate} duplicate + {tally.filtered} filtered"
                ),
            },
            "quarantine_share": {
                "passed": tally.bad_share <= source.max_quarantined,
                "blocking": True,
                "value": tally.bad_share,
                "description": f"share of bad rows, at most {source.max_quarantined:g}",
            },
        },
    }
