"""Token shares and speed of the mixture scheduler against the mixers of `datasets` and TRL, on the same rows.

Three sources with mean lengths of 349, 895 and 120 tokens, a million rows in all, wanted at 60, 30 and 10 % of all
tokens. Only lengths are generated, no text. Each way is timed from the sources at hand to the lengths of the mixed
rows in order; what numba takes to compile, or to load what it compiled before, is shown and not counted. Ours is
mixed at a million tokens, at ten million and to the end, and there every prefix is held against the proven bound.
"""

import argparse
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from corpora.mixing.manifest import bounds_of
from corpora.mixing.mixture import members_of
from corpora.mixing.scheduler import Schedule
from corpora.mixing.shares import Plan, make_plan
from recipes.mixtures import Mixture

SHARES = {"domain": 0.3, "general": 0.6, "safety": 0.1}
MEAN_TOKENS = {"domain": 895, "general": 349, "safety": 120}
_BLOCK = 1 << 16
_REPEATS = 3


@dataclass(frozen=True)
class Outcome:
    """What one way of mixing gave: source (by number, in the order of names) and tokens of each row, and its time."""

    member: Any
    tokens: Any
    seconds: float

    @property
    def shares(self) -> dict[str, float]:
        sums = np.bincount(self.member, weights=self.tokens, minlength=len(SHARES))
        return dict(zip(SHARES, (sums / sums.sum()).tolist(), strict=True))

    @property
    def rows_per_s(self) -> float:
        return len(self.member) / self.seconds

    @property
    def error_pp(self) -> float:
        """Largest error of a share of tokens, in percentage points."""
        return max(abs(self.shares[name] - share) for name, share in SHARES.items()) * 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the three sources together; at least 40,000")
    parser.add_argument("--seed", type=int, default=17)
    arguments = parser.parse_args()
    if arguments.rows < 40_000:
        parser.error("--rows must be at least 40,000: a mixture of ten million tokens is made of them")
    lengths = generate(arguments.rows, arguments.seed)
    print(f"rows at hand: {', '.join(f'{name} {len(rows):,}' for name, rows in lengths.items())}", flush=True)
    compiling = time.perf_counter()
    scheduled(lengths, 1_000, arguments.seed)
    print(f"numba: {time.perf_counter() - compiling:.2f} s to compile or load", flush=True)
    small, larger = (scheduled(lengths, size, arguments.seed)[0] for size in (1_000_000, 10_000_000))
    report("scheduler, 1 M tokens", small)
    report("scheduler, 10 M tokens", larger)
    runs = [scheduled(lengths, None, arguments.seed) for _ in range(_REPEATS)]
    ours, members = min(runs, key=lambda run: run[0].seconds)
    report("scheduler, to the end", ours)
    for size in (1_000_000, 10_000_000):
        print(
            f"  its first {size:,} tokens, which nothing was chosen to end on: {first(ours, size).error_pp:.3f} pp off"
        )
    worst = worst_prefix(ours, members)
    interleaved, by_trl = interleave(lengths, arguments.seed), trl_mixture(lengths)
    report("datasets.interleave_datasets", interleaved)
    report("trl.get_dataset", by_trl)
    print(
        json.dumps(
            {
                "share_error_pp": small.error_pp,
                "share_error_pp_10m": larger.error_pp,
                "worst_prefix_documents": worst,
                "interleave_error_pp": interleaved.error_pp,
                "trl_error_pp": by_trl.error_pp,
                "rows_per_s": round(ours.rows_per_s),
                "interleave_rows_per_s": round(interleaved.rows_per_s),
                "speedup": ours.rows_per_s / interleaved.rows_per_s,
            }
        )
    )


def generate(rows: int, seed: int) -> dict[str, Any]:
    """Lengths of the rows of each source, about as many of each as the shares need.

    Gamma-distributed, as those of chat corpora roughly are.
    """
    rng = np.random.default_rng(seed)
    needed = {name: share / MEAN_TOKENS[name] for name, share in SHARES.items()}
    counts = {name: round(rows * part / sum(needed.values())) for name, part in needed.items()}
    counts["general"] += rows - sum(counts.values())
    return {
        name: np.maximum(1, rng.gamma(2.0, mean / 2.0, counts[name])).astype(np.int32)
        for name, mean in MEAN_TOKENS.items()
    }


def scheduled(lengths: dict[str, Any], size: int | None, seed: int) -> tuple[Outcome, list[Any]]:
    """Our mixture of `size` tokens, or of as many as the sources allow, and the members that it was made of."""
    start = time.perf_counter()
    members = members_of(plan_of(lengths, size, seed), seed, lengths)
    schedule = Schedule(members)
    member, tokens = [], []
    while len((picks := schedule.take(_BLOCK)).row):
        of_block = np.empty(len(picks.row), np.int32)
        for number, source in enumerate(members):
            where = picks.member == number
            of_block[where] = source.units[picks.row[where]]
        member.append(picks.member)
        tokens.append(of_block)
    outcome = Outcome(np.concatenate(member), np.concatenate(tokens), time.perf_counter() - start)
    return outcome, members


def plan_of(lengths: dict[str, Any], size: int | None, seed: int) -> Plan:
    held = {name: int(rows.sum()) for name, rows in lengths.items()}
    wanted = {"size": size or sum(held.values()), "exhaustion": "error" if size else "stop"}
    mixture = Mixture.model_validate({"shares": SHARES, "seed": seed, "max_length": 1 << 20, **wanted})
    return make_plan(mixture, {name: {name: units} for name, units in held.items()})


def first(outcome: Outcome, tokens: int) -> Outcome:
    """The rows up to the one that reaches so many tokens."""
    rows = int(np.searchsorted(np.cumsum(outcome.tokens, dtype=np.int64), tokens)) + 1
    return Outcome(outcome.member[:rows], outcome.tokens[:rows], outcome.seconds)


def worst_prefix(outcome: Outcome, members: list[Any]) -> float:
    """The furthest that a source ever is from its share, in largest rows. Raises if the bound is not kept."""
    size = int(outcome.tokens.sum())
    plan = Plan(size, SHARES, SHARES, {name: {name: 1.0} for name in SHARES}, {})
    limits, _ = bounds_of(plan, members)
    total = np.cumsum(outcome.tokens, dtype=np.int64)
    largest = int(outcome.tokens.max())
    worst = 0.0
    for number, (name, share) in enumerate(SHARES.items()):
        emitted = np.cumsum(np.where(outcome.member == number, outcome.tokens, 0), dtype=np.int64)
        ahead = emitted - share * total
        most, least = float(ahead.max()), float(-ahead.min())
        print(
            f"{name}: at every prefix at most {most:,.0f} tokens ahead (bound {limits[name].ahead:,.0f}) "
            f"and {least:,.0f} behind (bound {limits[name].behind:,.0f}); the largest row has {largest:,}"
        )
        if most > limits[name].ahead + 1e-3 or least > limits[name].behind + 1e-3:
            raise AssertionError(f"{name} strays beyond the proven bound")
        worst = max(worst, most / largest, least / largest)
    return worst


def interleave(lengths: dict[str, Any], seed: int) -> Outcome:
    from datasets import Dataset, interleave_datasets

    sources = [Dataset.from_dict(columns) for columns in _columns(lengths)]
    start = time.perf_counter()
    mixed = interleave_datasets(sources, probabilities=list(SHARES.values()), seed=seed).with_format("numpy")[:]
    return Outcome(mixed["source"], mixed["tokens"], time.perf_counter() - start)


def trl_mixture(lengths: dict[str, Any]) -> Outcome:
    """TRL's mixer: `fraction` is a share of rows; it takes the first rows of each set and puts the sets end to end."""
    import datasets
    import pyarrow as pa
    import pyarrow.parquet as pq
    from trl import DatasetMixtureConfig, get_dataset
    from trl.scripts.utils import DatasetConfig

    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as name, patch.object(datasets.config, "HF_DATASETS_CACHE", Path(name)):
        files = [Path(name) / f"{source}.parquet" for source in SHARES]
        for file, columns in zip(files, _columns(lengths), strict=True):
            pq.write_table(pa.table(columns), file)
        sets = [
            DatasetConfig(path="parquet", data_files=str(file), split="train", fraction=share)
            for file, share in zip(files, SHARES.values(), strict=True)
        ]
        start = time.perf_counter()
        mixed = get_dataset(DatasetMixtureConfig(datasets=sets))["train"].with_format("numpy")[:]
        return Outcome(mixed["source"], mixed["tokens"], time.perf_counter() - start)


def _columns(lengths: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"tokens": lengths[name], "source": np.full(len(lengths[name]), n)} for n, name in enumerate(SHARES)]


def report(name: str, outcome: Outcome) -> None:
    shares = ", ".join(f"{source} {share:.4%}" for source, share in outcome.shares.items())
    print(f"{name}: {len(outcome.member):,} rows in {outcome.seconds:.3f} s; tokens: {shares}", flush=True)


if __name__ == "__main__":
    main()
