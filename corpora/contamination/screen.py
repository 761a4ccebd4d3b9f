"""Which rows of a corpus are copies of evaluation items.

Two steps: vectors of hashes over a whole batch find the few rows that share enough phrases with some item; each of
these is then compared with the item word by word. What is done about a match is left to the cleaning, how it is
shown to `evidence`.

Every message of a row is searched, of all roles; a run of words never goes from one message into the next. A row is
a copy of an item if it holds
  - `exact`: nothing but a text of 4 words or more, in all its messages or in its prompt and one of its answers;
    all of a text of 8 to 12 words, or of a generated problem, within a message; or a message that is nothing
    but a text of 4 to 7 words;
  - `verbatim`: the share `verbatim` of a longer text's 13-grams;
  - `altered`: the share `altered` of a longer text's words in runs of five or more, within a stretch of the row
    twice as long as the text.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from corpora.contamination.compare import Overlap, compare
from corpora.contamination.index import (
    INSIDE,
    SEED,
    TELLING,
    WHOLE,
    Entry,
    Index,
    build,
    gram_hashes,
    occurrences,
)
from corpora.contamination.words import Words, spans_in, split, split_all
from corpora.words.scripts import fold
from lineage.errors import CorpusError
from recipes.cleaning import Allowed, Contamination

VERSION = 2
"""Of what counts as a copy: a part of the identity of what was screened."""

Kind = Literal["exact", "verbatim", "altered"]
Record = Mapping[str, Any]
"""A row in a clean corpus's schema, of any kind."""


@dataclass(frozen=True)
class Match:
    """An item that a row holds. Spans are of characters: of the row's parts joined by line breaks, and of the item.

    coverage: share of the item's 13-grams (`verbatim`) or words (`altered`) that the row has; 1 if `exact`.
    allowed: the reason that the recipe gives for keeping such rows.
    """

    task: str
    item: int
    kind: Kind
    coverage: float
    row_spans: list[tuple[int, int]]
    item_spans: list[tuple[int, int]]
    item_text: str
    sensitive: bool
    allowed: str | None


@dataclass(frozen=True)
class Screen:
    """An index of evaluation items, and when a row counts as a copy of one."""

    index: Index
    section: Contamination

    @classmethod
    def load(cls, items: Path, section: Contamination) -> "Screen":
        """items: the table that `items.collect` wrote. Raises CorpusError if something allowed is not there."""
        index = build(items, section.common_items, [a.phrase for a in section.allow if a.phrase is not None])
        _check_allowed(section.allow, index)
        return cls(index, section)

    def matches(self, records: Sequence[Record]) -> list[Match | None]:
        """For each row the item that it is most of a copy of, one that is not allowed before one that is."""
        parts = [parts_of(record) for record in records]
        found: list[Match | None] = [None] * len(records)
        for row, entries in self._candidates(records, parts).items():
            matches = [m for e in entries if (m := self._match(records[row], parts[row], e)) is not None]
            if matches:
                found[row] = min(matches, key=lambda m: (m.allowed is not None, -m.coverage, m.task, m.item))
        return found

    def _candidates(self, records: Sequence[Record], parts: Sequence[Sequence[str]]) -> dict[int, list[int]]:
        """Entries by number of the row that shares enough phrases with them, or says nothing else."""
        import numpy as np

        texts = [text for row in parts for text in row]
        row_of = np.repeat(np.arange(len(parts)), [len(row) for row in parts])
        entries = len(self.index.entries)
        pairs, places, wholes = [], [], []
        sums = np.zeros(len(texts), np.uint64)
        for words in split_all(texts):
            begins = np.flatnonzero(np.diff(words.part, prepend=-1))
            if begins.size:
                sums[words.part[begins]] = np.add.reduceat(words.hashes, begins)
            at, entry, place = self.index.found(words)
            pairs.append(row_of[words.part[at]] * entries + entry)
            places.append(place)
            wholes += [row_of[part] * entries + entry for part, entry in self._wholes(words)]
        if not pairs:
            return {}
        wholes.append(self._nothing_else(records, parts, sums))
        enough = [*wholes, self._enough(np.concatenate(pairs), np.concatenate(places))]
        found: dict[int, list[int]] = {}
        for pair in np.unique(np.concatenate(enough)).tolist():
            found.setdefault(pair // entries, []).append(pair % entries)
        return found

    def _nothing_else(self, records: Sequence[Record], parts: Sequence[Sequence[str]], sums: Any) -> Any:
        """Pairs of row and entry that may have the same words; sums: of the hashes of each text's."""
        import numpy as np

        bounds = np.cumsum([0, *map(len, parts)])
        rows, said = [], []
        for row, record in enumerate(records):
            for reading in _readings(record, parts[row]):
                rows.append(row)
                said.append(sums[bounds[row] : bounds[row + 1]][reading].sum(dtype=np.uint64))
        asked, at = occurrences(self.index.sums, np.array(said, np.uint64))
        return np.array(rows, np.int64)[asked] * len(self.index.entries) + self.index.sum_entry[at]

    def _wholes(self, words: Words) -> Iterator[tuple[Any, Any]]:
        """Messages that are nothing but a short text, and the entries of these texts."""
        import numpy as np

        begins = np.flatnonzero(np.diff(words.part, prepend=-1))
        sizes = np.diff(begins, append=len(words.part))
        for size in range(WHOLE, INSIDE):
            first = begins[sizes == size]
            if first.size:
                found, entries = self.index.whole_entries(gram_hashes(words.hashes, size)[first])
                yield words.part[first[found]], entries

    def _enough(self, pairs: Any, places: Any) -> Any:
        """Pairs of row and entry whose shared phrases may cover the share that is asked for."""
        import numpy as np

        if not pairs.size:
            return pairs
        order = np.lexsort((places, pairs))
        pairs, places = pairs[order], places[order]
        fresh = np.ones(len(pairs), np.bool_)
        fresh[1:] = (pairs[1:] != pairs[:-1]) | (places[1:] != places[:-1])
        pairs, places = pairs[fresh], places[fresh]
        first = np.flatnonzero(np.diff(pairs, prepend=-1))
        reach = np.minimum(np.diff(places, append=0), SEED)
        reach[np.append(first[1:] - 1, len(pairs) - 1)] = SEED
        entries = pairs[first] % len(self.index.entries)
        asked = min(self.section.verbatim, self.section.altered) * self.index.evidence[entries]
        copies = np.add.reduceat(reach, first) >= np.maximum(TELLING, asked)
        wholes = np.diff(first, append=len(pairs)) == self.index.phrases[entries]
        return pairs[first][np.where(self.index.exact[entries], wholes, copies)]

    def _match(self, record: Record, parts: Sequence[str], number: int) -> Match | None:
        entry, words = self.index.entries[number], split(parts)
        item = split([entry.text])
        template = self.index.template[self.index.words_of(number)]
        overlap = _equal(record, parts, words, item)
        kind: Kind | None = "exact"
        if overlap is None:
            normal = [fold(part) for part in parts]
            overlap = compare(normal, words, fold(entry.text), item, template, entry.exact)
            kind = self._kind(overlap, entry)
        if kind is None:
            return None
        return Match(
            task=entry.task,
            item=entry.item,
            kind=kind,
            coverage=overlap.altered if kind == "altered" else overlap.verbatim,
            row_spans=_row_spans(parts, words, overlap.row_words),
            item_spans=spans_in(entry.text, _joined(item, overlap.item_words)),
            item_text=entry.text,
            sensitive=entry.sensitive,
            allowed=self._allowed(record, entry),
        )

    def _kind(self, overlap: Overlap, entry: Entry) -> Kind | None:
        if entry.exact:
            return "exact" if overlap.whole else None
        if overlap.verbatim >= self.section.verbatim:
            return "verbatim"
        return "altered" if overlap.altered >= self.section.altered else None

    def _allowed(self, record: Record, entry: Entry) -> str | None:
        return next((a.reason for a in self.section.allow if _covers(a, record, entry)), None)


def _readings(record: Record, parts: Sequence[str]) -> Iterator[list[int]]:
    """Numbers of the parts that are read together: all of them, or the prompt with each of its answers."""
    yield [*range(len(parts))]
    if not record.get("prompt"):
        return
    prompt = [*range(len(_contents(record["prompt"])))]
    begin = len(prompt)
    answers = [record.get(field) for field in ("completion", "chosen", "rejected")]
    answers += [answer["messages"] for answer in record.get("answers") or []]
    for answer in filter(None, answers):
        end = begin + len(_contents(answer))
        yield [*prompt, *range(begin, end)]
        begin = end


def _equal(record: Record, parts: Sequence[str], row: Words, item: Words) -> Overlap | None:
    """The overlap of a row one of whose readings has the item's words and no others."""
    import numpy as np

    for reading in _readings(record, parts):
        chosen = np.isin(row.part, reading)
        if np.array_equal(row.hashes[chosen], item.hashes):
            return Overlap(True, 1.0, 1.0, chosen, np.ones(len(item.hashes), np.bool_))
    return None


def parts_of(record: Record) -> list[str]:
    """The texts of a row, each message on its own: prompt, every answer and tool call."""
    found = [record["text"]] if record.get("text") else []
    for field in ("messages", "prompt", "completion", "chosen", "rejected"):
        found += _contents(record.get(field) or [])
    for answer in record.get("answers") or []:
        found += _contents(answer["messages"])
    return found


def _contents(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    return [text for message in messages for text in (message["content"], message.get("tool_calls")) if text]


def _covers(allowed: Allowed, record: Record, entry: Entry) -> bool:
    if allowed.phrase is not None or (allowed.task is not None and allowed.task != entry.task):
        return False
    if allowed.row is not None:
        return str(record["id"]).startswith(allowed.row)
    return allowed.item is None or allowed.item == entry.item


def _check_allowed(allow: Sequence[Allowed], index: Index) -> None:
    tasks = {entry.task for entry in index.entries}
    for number, allowed in enumerate(allow):
        where = f"contamination.allow.{number}"
        if allowed.task is not None and allowed.task not in tasks:
            raise CorpusError(f"{where}.task: '{allowed.task}' is no task of the suite; tasks are {sorted(tasks)}")
        if allowed.phrase is not None and len(split([allowed.phrase]).hashes) < SEED:
            raise CorpusError(f"{where}.phrase: shorter than {SEED} words, which are never evidence")


def _row_spans(parts: Sequence[str], words: Words, chosen: Any) -> list[tuple[int, int]]:
    """Character spans of the chosen words in the parts joined by line breaks."""
    spans, offset = [], 0
    for number, text in enumerate(parts):
        inside = spans_in(text, _joined(words, chosen & (words.part == number)))
        spans += [(start + offset, end + offset) for start, end in inside]
        offset += len(text) + 1
    return spans


def _joined(words: Words, chosen: Any) -> list[tuple[int, int]]:
    """Spans of runs of chosen words in the normalised text of their part."""
    import numpy as np

    edges = np.flatnonzero(np.diff(np.concatenate([[0], chosen.astype(np.int8), [0]])))
    return [(int(words.start[a]), int(words.end[b - 1])) for a, b in edges.reshape(-1, 2)]
