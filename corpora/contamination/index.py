"""The phrases of all evaluation items, by hash: which items a run of five words could be of.

An entry is one text of one item. Phrases that more than a few items of a task share are its template and left out,
and so are the phrases that a recipe allows. An entry that only counts as a whole (a short one, or a generated
problem) keeps its rarest phrase at any rate, so that it can be found.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from corpora.contamination.words import Words, split_all
from corpora.tables.tables import rows_of
from lineage.hashing import text_digest

SEED = 5
"""Words of a phrase. IFEval's median prompt has 34: two or three changed words can leave no 13-gram of it whole."""
NGRAM = 13
INSIDE = 8
"""A text of fewer words is only found as a whole message; one of at least so many, anywhere in a message."""
WHOLE = 4
"""A text of fewer words is not looked for: it says too little."""

TELLING = 10
"""Words that are no template. With fewer in common a row is no copy: `is the first step in the` is plain English."""

_FILTER_BITS = 24
_LONGEST = 16
"""Words of the longest run that is hashed."""


@dataclass(frozen=True)
class Entry:
    """One text of an item. `exact`: only the whole text counts, with no word missing or changed."""

    task: str
    item: int
    field: str
    text: str
    exact: bool
    sensitive: bool


@dataclass(frozen=True)
class Index:
    """Entries and their phrases.

    words: of all entries, one after another; starts: where each entry's begin, and the end. template: which words
    are no evidence. grams, entry, place: the phrases by hash in ascending order, and the entry and word each begins at.
    whole, whole_entry: hashes of the texts that are looked for as whole messages. sums, sum_entry: sums of the hashes
    of each text's words, in ascending order, and the entries: a row that says nothing else is a copy, whatever
    template the items share.
    """

    entries: list[Entry]
    words: Any
    starts: Any
    template: Any
    grams: Any
    entry: Any
    place: Any
    whole: Any
    whole_entry: Any
    sums: Any
    sum_entry: Any

    @cached_property
    def _seen(self) -> Any:
        """16 MB that tell most absent phrases without a search: by the upper bits of their hash."""
        import numpy as np

        filter_ = np.zeros(1 << _FILTER_BITS, np.bool_)
        filter_[self.grams >> np.uint64(64 - _FILTER_BITS)] = True
        return filter_

    @cached_property
    def evidence(self) -> Any:
        """Words of each entry that are evidence."""
        import numpy as np

        total = np.concatenate([[0], np.cumsum(~self.template)])
        return total[self.starts[1:]] - total[self.starts[:-1]]

    def found(self, words: Words) -> tuple[Any, Any, Any]:
        """Phrases in texts: the place of the first word, the entry and the place in it, a line for each occurrence."""
        from corpora.contamination import kernels

        places, grams = kernels.known(words.hashes, words.part, SEED, _factors(), self._seen, _FILTER_BITS)
        asked, at = occurrences(self.grams, grams)
        return places[asked], self.entry[at], self.place[at]

    def whole_entries(self, grams: Any) -> tuple[Any, Any]:
        """Which of these runs are a short text as a whole: their indices, and the entries."""
        asked, at = occurrences(self.whole, grams)
        return asked, self.whole_entry[at]

    @cached_property
    def phrases(self) -> Any:
        """Phrases of each entry that are looked for."""
        import numpy as np

        return np.bincount(self.entry, minlength=len(self.entries))

    @cached_property
    def exact(self) -> Any:
        """Which entries only count as a whole."""
        import numpy as np

        return np.array([entry.exact for entry in self.entries], np.bool_)

    def words_of(self, entry: int) -> slice:
        return slice(int(self.starts[entry]), int(self.starts[entry + 1]))


def occurrences(table: Any, wanted: Any) -> tuple[Any, Any]:
    """Where each wanted value is in an ascending table: pairs of an index into `wanted` and one into `table`."""
    import numpy as np

    left = np.searchsorted(table, wanted, "left")
    count = np.searchsorted(table, wanted, "right") - left
    return np.repeat(np.arange(len(wanted)), count), np.repeat(left - np.cumsum(count) + count, count) + np.arange(
        count.sum()
    )


def gram_hashes(words: Any, size: int) -> Any:
    """A hash of each run of `size` words, by the place of its first."""
    from corpora.contamination import kernels

    return kernels.runs(words, size, _factors())


def within(part: Any, size: int) -> Any:
    """Which runs of `size` words lie in one text."""
    if len(part) < size:
        return part[:0] == 0
    return part[: len(part) - size + 1] == part[size - 1 :]


def build(items: Path, common_items: int, phrases: Sequence[str]) -> Index:
    """Index the table of items. phrases: allowed ones, of five words or more."""
    import numpy as np

    entries, texts = _entries(items)
    words, part = _words(texts)
    counts = np.bincount(part, minlength=len(texts))
    starts = np.concatenate([[0], np.cumsum(counts)])
    first = np.flatnonzero(within(part, SEED))
    grams, of_entry = gram_hashes(words, SEED)[first], part[first]
    allowed = np.isin(grams, _phrase_grams(phrases))
    sharing = _sharing(grams, of_entry, entries)
    common = (sharing > common_items) | allowed
    template = np.zeros(len(words), np.bool_)
    for place in range(SEED):
        template[first[common] + place] = True
    exact = (counts < NGRAM) | (np.bincount(part[~template], minlength=len(texts)) < TELLING)
    entries = [replace(e, exact=e.exact or bool(x)) for e, x in zip(entries, exact, strict=True)]
    useless = _shared_texts(words, starts, entries) > common_items
    useless |= (counts >= SEED) & (np.bincount(of_entry[~allowed], minlength=len(texts)) == 0)
    kept = (~common | (_rarest(sharing, of_entry, entries) & ~allowed)) & (counts >= INSIDE)[of_entry]
    kept &= ~useless[of_entry]
    order = np.argsort(grams[kept], kind="stable")
    whole, whole_entry = _wholes(words, starts, np.flatnonzero((counts >= WHOLE) & (counts < INSIDE) & ~useless))
    total = np.append(np.uint64(0), np.cumsum(words, dtype=np.uint64))
    not_allowed = (counts < SEED) | (np.bincount(of_entry[~allowed], minlength=len(texts)) > 0)
    summed = np.flatnonzero((counts >= WHOLE) & not_allowed)
    sums = (total[starts[1:]] - total[starts[:-1]])[summed]
    by_sum = np.argsort(sums, kind="stable")
    return Index(
        entries=entries,
        words=words,
        starts=starts,
        template=template,
        grams=grams[kept][order],
        entry=of_entry[kept][order].astype(np.int32),
        place=(first - starts[of_entry])[kept][order].astype(np.int32),
        whole=whole,
        whole_entry=whole_entry,
        sums=sums[by_sum],
        sum_entry=summed[by_sum],
    )


def _entries(items: Path) -> tuple[list[Entry], list[str]]:
    rows = list(rows_of(items))
    fields = ("task", "item", "field", "text", "generated", "sensitive")
    return [Entry(*(row[name] for name in fields)) for row in rows], [row["text"] for row in rows]


def _words(texts: Sequence[str]) -> tuple[Any, Any]:
    import numpy as np

    blocks = list(split_all(texts))
    if not blocks:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    return np.concatenate([block.hashes for block in blocks]), np.concatenate([block.part for block in blocks])


def _sharing(grams: Any, of_entry: Any, entries: Sequence[Entry]) -> Any:
    """How many items of its task have each phrase; entries come in the order of tasks and items."""
    import numpy as np

    tasks = {task: number for number, task in enumerate(sorted({entry.task for entry in entries}))}
    task = np.array([tasks[entry.task] for entry in entries], np.uint64)
    item = np.array([entry.item for entry in entries], np.int64)
    keys = grams ^ (task[of_entry] << np.uint64(48))
    order = np.argsort(keys, kind="stable")
    keys, items = keys[order], item[of_entry[order]]
    group = np.cumsum(np.append(True, keys[1:] != keys[:-1])) - 1 if len(keys) else np.zeros(0, np.int64)
    fresh = np.append(True, (group[1:] != group[:-1]) | (items[1:] != items[:-1])) if len(keys) else np.zeros(0, bool)
    sharing = np.zeros(len(keys), np.int64)
    sharing[order] = np.bincount(group[fresh])[group] if len(keys) else 0
    return sharing


def _rarest(sharing: Any, of_entry: Any, entries: Sequence[Entry]) -> Any:
    """The phrase of each exact entry that the fewest items share."""
    import numpy as np

    order = np.lexsort((sharing, of_entry))
    first = order[np.append(True, of_entry[order][1:] != of_entry[order][:-1])] if len(order) else order
    exact = np.array([entry.exact for entry in entries], np.bool_)
    rarest = np.zeros(len(sharing), np.bool_)
    rarest[first] = exact[of_entry[first]]
    return rarest


def _shared_texts(words: Any, starts: Any, entries: Sequence[Entry]) -> Any:
    """How many items of its task have the same text as each entry."""
    import numpy as np

    texts = [(e.task, words[a:b].tobytes()) for e, a, b in zip(entries, starts, starts[1:], strict=False)]
    counts = Counter(texts)
    return np.array([counts[text] for text in texts], np.int64)


def _wholes(words: Any, starts: Any, numbers: Any) -> tuple[Any, Any]:
    """Hashes of whole texts, in ascending order, and the entries that they are of."""
    import numpy as np

    hashes = [gram_hashes(words[starts[n] : starts[n + 1]], int(starts[n + 1] - starts[n]))[0] for n in numbers]
    order = np.argsort(np.array(hashes, np.uint64), kind="stable")
    return np.array(hashes, np.uint64)[order], numbers[order]


def _phrase_grams(phrases: Sequence[str]) -> Any:
    words, part = _words(phrases)
    return gram_hashes(words, SEED)[within(part, SEED)]


@cache
def _factors() -> Any:
    """A fixed odd number for each place of a run."""
    import numpy as np

    numbers = [int(text_digest(f"contamination/{place}")[:16], 16) | 1 for place in range(_LONGEST)]
    return np.array(numbers, np.uint64)
