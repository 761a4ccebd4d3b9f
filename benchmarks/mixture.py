"""Token shares and speed of the mixture scheduler against `datasets.interleave_datasets`, on the same rows.

Three sources with mean lengths of 349, 895 and 120 tokens, wanted at 60, 30 and 10 % of all tokens. Only lengths
are generated, no text. Each side is timed from the sources at hand to the lengths of the mixed rows in order.
"""

import argparse
import itertools
import json
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from corpora.mixing.mixture import picks
from corpora.mixing.shares import Plan

SHARES = {"general": 0.6, "domain": 0.3, "safety": 0.1}
MEAN_TOKENS = {"general": 349, "domain": 895, "safety": 120}
_SPARE = 1.2
"""Each source holds this many times the tokens that the mixture takes from it."""


@dataclass(frozen=True)
class Outcome:
    """What one way of mixing gave: tokens by source, rows, and the seconds it took."""

    tokens: dict[str, int]
    rows: int
    seconds: float

    @property
    def rows_per_s(self) -> float:
        return self.rows / self.seconds

    @property
    def error_pp(self) -> float:
        """Largest error of a share of tokens, in percentage points."""
        total = sum(self.tokens.values())
        return max(abs(self.tokens[name] / total - share) for name, share in SHARES.items()) * 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=100_000_000, help="size of the mixture")
    parser.add_argument("--seed", type=int, default=17)
    arguments = parser.parse_args()
    lengths = generate(arguments.tokens, arguments.seed)
    print(f"rows at hand: {', '.join(f'{name} {len(rows):,}' for name, rows in lengths.items())}", flush=True)
    ours = scheduled(lengths, arguments.tokens, arguments.seed)
    report("deficit scheduler", ours)
    theirs = interleaved(lengths, arguments.seed)
    report("interleave_datasets", theirs)
    print(
        json.dumps(
            {
                "share_error_pp": ours.error_pp,
                "interleave_error_pp": theirs.error_pp,
                "rows_per_s": round(ours.rows_per_s),
                "interleave_rows_per_s": round(theirs.rows_per_s),
                "speedup": ours.rows_per_s / theirs.rows_per_s,
            }
        )
    )


def generate(tokens: int, seed: int) -> dict[str, Any]:
    """Lengths of the rows of each source: gamma-distributed, as those of chat corpora roughly are."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, mean in MEAN_TOKENS.items():
        rows = int(tokens * SHARES[name] / mean * _SPARE) + 1
        found[name] = np.maximum(1, rng.gamma(2.0, mean / 2.0, rows)).astype(np.int64)
    return found


def scheduled(lengths: dict[str, Any], tokens: int, seed: int) -> Outcome:
    start = time.perf_counter()
    plan = Plan(tokens, SHARES, {name: {name: 1.0} for name in SHARES})
    chosen = np.fromiter(itertools.chain.from_iterable(picks(plan, seed, lengths, 1)), np.int64).reshape(-1, 4)
    seconds = time.perf_counter() - start
    sums = np.bincount(chosen[:, 1], weights=chosen[:, 0])
    return Outcome({name: int(total) for name, total in zip(sorted(lengths), sums, strict=True)}, len(chosen), seconds)


def interleaved(lengths: dict[str, Any], seed: int) -> Outcome:
    from datasets import Dataset, interleave_datasets

    sources = [
        Dataset.from_dict({"tokens": rows, "source": np.full(len(rows), number)})
        for number, rows in enumerate(lengths.values())
    ]
    start = time.perf_counter()
    mixed = interleave_datasets(sources, probabilities=list(SHARES.values()), seed=seed).with_format("numpy")[:]
    seconds = time.perf_counter() - start
    sums = np.bincount(mixed["source"], weights=mixed["tokens"])
    rows = len(mixed["source"])
    return Outcome({name: int(total) for name, total in zip(lengths, sums, strict=True)}, rows, seconds)


def report(name: str, outcome: Outcome) -> None:
    total = sum(outcome.tokens.values())
    shares = ", ".join(f"{source} {units / total:.2%}" for source, units in outcome.tokens.items())
    print(f"{name}: {outcome.rows:,} rows in {outcome.seconds:.2f} s; tokens: {shares}", flush=True)


if __name__ == "__main__":
    main()
