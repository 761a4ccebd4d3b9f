"""Text to measure on: Alpaca rows of Zipf-distributed words, with repeats, near-repeats and copies of test items.

Everything follows from the seed. Words are made of syllables and drawn by Zipf's law with exponent 1; lengths of
rows are log-normal around 1 KB. One row in fifty is an exact copy of an earlier one, one in fifty a copy with a few
words changed, one in a thousand asks a question of the evaluation items.
"""

import math
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

VOCABULARY = 50_000
MEAN_WORDS = 150
ITEMS = 2_000
ITEM_WORDS = 40
REPEATED, CHANGED, COPIED = 0.02, 0.02, 0.001

_SYLLABLES = [start + vowel for start in "bcdfghlmnprstvw" for vowel in ("a", "e", "i", "o", "u", "ar", "en", "is")]
_ENDINGS = ("", "", "n", "s", "t", "ing", "er", "ly", "tion")

_CHUNK = 20_000
_KEPT = 500
"""Rows remembered of each chunk, from which copies are made."""


@cache
def vocabulary(seed: int) -> Any:
    """Distinct made-up words, the most frequent first; short words are the frequent ones, as in any language."""
    draw = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < VOCABULARY:
        syllables = 1 + min(3, int(math.log10(len(found) + 1)))
        found["".join(draw.choices(_SYLLABLES, k=draw.randint(1, syllables))) + draw.choice(_ENDINGS)] = None
    return np.array(list(found), object)


def items(seed: int) -> list[str]:
    """Questions of an evaluation that rows may have been copied from."""
    words = vocabulary(seed)
    rng = np.random.default_rng(seed + 1)
    return [" ".join(words[drawn]) for drawn in _ranks(rng, ITEMS * ITEM_WORDS).reshape(ITEMS, ITEM_WORDS)]


def texts(rows: int, language: int, seed: int) -> Iterator[tuple[str, str]]:
    """Question and answer of each row. language: the seed of words and items, which several sources may share."""
    words, questions = vocabulary(language), items(language)
    rng = np.random.default_rng((language, seed))
    kept: list[tuple[str, str]] = []
    for begin in range(0, rows, _CHUNK):
        count = min(_CHUNK, rows - begin)
        lengths = np.clip(rng.lognormal(np.log(MEAN_WORDS) - 0.18, 0.6, count), 12, 4000).astype(int)
        drawn = words[_ranks(rng, int(lengths.sum()))].tolist()
        fate = rng.random(count)
        at = 0
        for length, kind in zip(lengths.tolist(), fate.tolist(), strict=True):
            pieces = drawn[at : at + length]
            at += length
            row = " ".join(pieces[: length // 5]), " ".join(pieces[length // 5 :])
            if kind < COPIED:
                row = questions[length % ITEMS], row[1]
            elif kind < COPIED + REPEATED and kept:
                row = kept[length * 7919 % len(kept)]
            elif kind < COPIED + REPEATED + CHANGED and kept:
                row = _changed(kept[length * 7919 % len(kept)], pieces)
            elif len(kept) < _KEPT or kind > 0.99:
                kept = [*kept[-_KEPT:], row]
            yield row


def write(path: Path, size: int, language: int, seed: int) -> int:
    """A jsonl file of about `size` bytes; the number of its rows."""
    rows = 0
    with path.open("w", encoding="ascii") as file:
        for asked, answered in texts(size, language, seed):
            rows += 1
            file.write(f'{{"instruction": "{asked}", "input": "", "output": "{answered}"}}\n')
            if rows % 1000 == 0 and file.tell() >= size:
                break
    return rows


def _ranks(rng: Any, count: int) -> Any:
    """Ranks of words by Zipf's law, cut at the size of the vocabulary."""
    return np.exp(rng.random(count) * np.log(VOCABULARY)).astype(np.int64) - 1


def _changed(row: tuple[str, str], pieces: list[str]) -> tuple[str, str]:
    """The row with every thirtieth word of its answer another one."""
    words = row[1].split(" ")
    for place in range(len(pieces) % 30, len(words), 30):
        words[place] = pieces[place % len(pieces)]
    return row[0], " ".join(words)
