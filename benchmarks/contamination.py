"""How fast rows are searched for evaluation items, in one thread: an index of the size of MMLU, generated rows.

`python -m benchmarks.contamination` prints on its last line a JSON object: `words_per_s`, words of rows searched per
second from their text to their matches; `index_s`, seconds to index the items; `found`, copies found of those hidden
with every twelfth word changed, as a share; `wrong`, rows matched that hold no copy.
"""

import argparse
import json
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from corpora.contamination.items import ITEMS, items_schema
from corpora.contamination.screen import Screen
from corpora.tables.tables import writing
from recipes.cleaning import Contamination

_ITEMS = 14_000
_ITEM_WORDS = 50
_ROW_WORDS = 200
_VOCABULARY = 30_000
_EVERY = 500
"""One row in so many holds a copy."""
_BATCH = 2_000


@dataclass(frozen=True)
class Outcome:
    words_per_s: float
    index_s: float
    found: float
    wrong: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--words", type=int, default=20_000_000, help="words of rows to search")
    parser.add_argument("--seed", type=int, default=17)
    arguments = parser.parse_args()
    outcome = search(arguments.words, arguments.seed)
    print(f"{arguments.words:,} words at {outcome.words_per_s:,.0f} words/s, {outcome.found:.1%} of the copies found")
    print(json.dumps(asdict(outcome)))


def words_per_second(words: int, seed: int = 17) -> float:
    """Words of generated rows searched per second, in one thread."""
    return search(words, seed).words_per_s


def search(words: int, seed: int) -> Outcome:
    """Search about `words` words of generated rows; generating them is not timed."""
    draw = random.Random(seed)
    vocabulary = [
        "".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 11))) for _ in range(_VOCABULARY)
    ]
    items = [" ".join(draw.choices(vocabulary, k=_ITEM_WORDS)) for _ in range(_ITEMS)]
    with TemporaryDirectory() as folder:
        screen, index_s = _indexed(items, Path(folder))
    screen.matches([_row("a few words to load what is compiled")])
    seconds, hidden, found, wrong = 0.0, 0, 0, 0
    for batch, copies in _batches(words, draw, vocabulary, items):
        began = time.perf_counter()
        matches = screen.matches(batch)
        seconds += time.perf_counter() - began
        hidden += len(copies)
        found += sum((m := matches[row]) is not None and m.item == item for row, item in copies.items())
        wrong += sum(m is not None and row not in copies for row, m in enumerate(matches))
    return Outcome(words / seconds, index_s, found / max(1, hidden), wrong)


def _indexed(items: list[str], folder: Path) -> tuple[Screen, float]:
    with writing(folder / ITEMS, items_schema()) as table:
        for number, text in enumerate(items):
            named = {"task": "generated", "item": number, "field": "question", "text": text}
            table.add({**named, "generated": False, "sensitive": False})
    began = time.perf_counter()
    screen = Screen.load(folder / ITEMS, Contamination())
    return screen, time.perf_counter() - began


def _batches(
    words: int, draw: random.Random, vocabulary: list[str], items: list[str]
) -> Iterator[tuple[list[dict[str, Any]], dict[int, int]]]:
    """Rows, and the item that each row with a copy holds."""
    left = words // _ROW_WORDS
    while left > 0:
        rows, copies = [], {}
        for row in range(min(_BATCH, left)):
            said = draw.choices(vocabulary, k=_ROW_WORDS)
            if row % _EVERY == 0:
                copies[row] = draw.randrange(_ITEMS)
                copy = items[copies[row]].upper().split()
                copy[11::12] = draw.choices(vocabulary, k=len(copy[11::12]))
                said[:_ITEM_WORDS] = copy
            rows.append(_row(" ".join(said)))
        yield rows, copies
        left -= len(rows)


def _row(text: str) -> dict[str, Any]:
    return {"id": "0", "messages": [{"role": "user", "content": text}]}


if __name__ == "__main__":
    main()
