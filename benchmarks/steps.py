"""The corpus steps over generated sources, in a process of their own so that their memory can be watched.

`python -m benchmarks.steps FOLDER WORKERS TOKENIZER` cleans each source in the folder, finds near duplicates over all
of them and mixes what is left, in tokens of the tokenizer in that folder. It prints the name of each step as it
begins; its last line is a JSON object of seconds by step and of counts.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from corpora.cleaning.clean import clean
from corpora.contamination.items import ITEMS
from corpora.duplicates.near import find
from corpora.mixing.mixture import mix
from recipes.cleaning import Duplicates
from recipes.execution import CorporaExecution
from recipes.mixtures import Mixture
from recipes.sources import Source

SHARES = {"general": 0.6, "domain": 0.4}
"""Of the raw bytes and of the mixture's tokens, by source; each is a group of its own."""


def main() -> None:
    folder, execution, tokenizer = Path(sys.argv[1]), CorporaExecution(workers=int(sys.argv[2])), Path(sys.argv[3])
    seconds: dict[str, float] = {}
    with _step("clean", seconds):
        counts = {name: _clean(folder, name, execution) for name in SHARES}
    with _step("duplicates", seconds):
        found = _distinct(folder, execution)
    with _step("mixture", seconds):
        mixed = _mix(folder, execution, tokenizer)
    print(json.dumps({"seconds": seconds, "clean": counts, **found, "mixed": mixed}))


@contextmanager
def _step(name: str, seconds: dict[str, float]) -> Iterator[None]:
    print(name, flush=True)
    began = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - began


def _clean(folder: Path, name: str, execution: CorporaExecution) -> dict[str, int]:
    work = folder / "clean" / name
    work.mkdir(parents=True)
    source = Source(uri=f"{name}.jsonl", group=name, licence="generated")
    metrics = clean(name, source, folder, folder / "cache", work, items=folder / ITEMS, execution=execution)
    return {count: metrics[count] for count in ("read", "kept", "duplicate", "contaminated")}


def _distinct(folder: Path, execution: CorporaExecution) -> dict[str, int]:
    """Rows found to say what another says, and rows in clusters of such."""
    work = folder / "distinct"
    work.mkdir()
    metrics = find({name: folder / "clean" / name for name in SHARES}, Duplicates(), work, execution)
    return {"removed": metrics["removed"], "clustered": metrics["removed"] + metrics["clusters"]}


def _mix(folder: Path, execution: CorporaExecution, tokenizer: Path) -> int:
    """Rows of a mixture of about a third of the tokens."""
    raw = sum((folder / f"{name}.jsonl").stat().st_size for name in SHARES)
    mixture = Mixture(unit="tokens", shares=SHARES, size=raw // 8, max_length=8192, seed=17)
    work = folder / "mixture"
    work.mkdir()
    sources = {name: (name, folder / "clean" / name) for name in SHARES}
    removed = {name: folder / "distinct" / "removed" / f"{name}.parquet" for name in SHARES}
    metrics = mix(mixture, sources, tokenizer, work, removed=removed, execution=execution)
    return int(metrics["rows"])


if __name__ == "__main__":
    main()
