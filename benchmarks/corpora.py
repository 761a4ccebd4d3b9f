"""Raw text to a mixture at two sizes: how fast, and whether memory stays where it was when the text grows tenfold.

Two sources of generated rows (`generated`) are cleaned, held against evaluation items, freed of near duplicates and
mixed, by the corpus steps themselves (`steps`), in a process whose tree's resident memory is watched (`memory`).
Then near duplicates against datasketch (`duplicates`) and the screen alone (`contamination`).

`python -m benchmarks.corpora` takes about 25 minutes on two cores and prints on its last line a JSON object:
`mb_per_s`, of raw text through all steps at the larger size; `peak_rss_small_mb`, `peak_rss_large_mb` and `rss_ratio`;
`rss_bound_mb`, what the larger size may take by what the steps promise of themselves, and `rss_holds`, whether it
takes no more or the ratio is at most 1.15; and the figures of the other two modules. In about a minute:
`python -m benchmarks.corpora --small-mb 8 --large-mb 40 --documents 40000 --words 2000000`.
"""

import argparse
import json
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import contamination, duplicates, generated
from benchmarks.memory import Sampler, promised
from benchmarks.steps import SHARES
from corpora.commands.tokenizer import tokenizer_folder
from corpora.contamination.items import ITEMS, items_schema
from corpora.sources import fetch_model
from corpora.tables.tables import writing
from corpora.work.task import workers_of
from lineage.store import Store, home_folder
from recipes.execution import CorporaExecution
from recipes.load import SHIPPED, load_recipe
from recipes.sources import Model

_MOST_RATIO = 1.15
_OF_NEAR_DUPLICATES = ("dedup_docs_per_s", "datasketch_docs_per_s", "dedup_speedup", "dedup_recall")


@dataclass(frozen=True)
class Outcome:
    """All steps over one size of text. clustered: rows that say what others say. peaks_mb: by step."""

    megabytes: float
    rows: int
    clustered: int
    seconds: dict[str, float]
    peaks_mb: dict[str, float]

    @property
    def peak_mb(self) -> float:
        return max(self.peaks_mb.values())

    @property
    def total_s(self) -> float:
        return sum(self.seconds.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small-mb", type=int, default=200)
    parser.add_argument("--large-mb", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=workers_of(CorporaExecution()))
    parser.add_argument("--documents", type=int, default=400_000, help="that near duplicates are sought among")
    parser.add_argument("--words", type=int, default=10_000_000, help="that are held against evaluation items")
    parser.add_argument("--seed", type=int, default=17)
    arguments = parser.parse_args()
    small, large = (
        measure(size, arguments.workers, arguments.seed) for size in (arguments.small_mb, arguments.large_mb)
    )
    near = duplicates.figures(arguments.documents, arguments.seed)
    result = {
        "mb_per_s": round(large.megabytes / large.total_s, 2),
        **_memory(small, large, arguments.workers),
        **{name: near[name] for name in _OF_NEAR_DUPLICATES},
        "decontamination_words_per_s": round(contamination.words_per_second(arguments.words, arguments.seed)),
    }
    print(json.dumps(result))


def measure(megabytes: int, workers: int, seed: int) -> Outcome:
    """Generate so much text and put it through all steps."""
    tokenizer = _demo_tokenizer()
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        raw = generate(folder, megabytes * 1_000_000, seed)
        print(f"{raw / 1e6:,.0f} MB generated; {workers} workers", flush=True)
        command = [sys.executable, "-m", "benchmarks.steps", str(folder), str(workers), str(tokenizer)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process, Sampler(process.pid) as sampler:
            assert process.stdout is not None
            for line in process.stdout:
                sampler.step = line.strip()
        if process.returncode:
            raise SystemExit(f"the steps ended with status {process.returncode}")
        done = json.loads(sampler.step)
    rows = sum(counts["read"] for counts in done["clean"].values())
    peaks = {step: sampler.peaks[step] / 1e6 for step in done["seconds"]}
    outcome = Outcome(raw / 1e6, rows, done["clustered"], done["seconds"], peaks)
    _report(outcome, done)
    return outcome


def generate(folder: Path, size: int, seed: int) -> int:
    """Write the sources, each in a process of its own, and the evaluation items; bytes of the sources."""
    files = [folder / f"{name}.jsonl" for name in SHARES]
    with ProcessPoolExecutor(len(files)) as pool:
        wanted = [round(size * share) for share in SHARES.values()]
        seeds = [seed + number for number in range(len(files))]
        list(pool.map(generated.write, files, wanted, [seed] * len(files), seeds))
    with writing(folder / ITEMS, items_schema()) as table:
        for number, text in enumerate(generated.items(seed)):
            item = {"task": "generated", "item": number, "field": "question", "text": text}
            table.add({**item, "generated": False, "sensitive": False})
    return sum(file.stat().st_size for file in files)


def _report(outcome: Outcome, done: dict[str, Any]) -> None:
    for step, seconds in outcome.seconds.items():
        speed = f"{outcome.rows / seconds:,.0f} rows/s, {outcome.megabytes / seconds:,.1f} MB/s"
        print(f"  {step}: {seconds:,.1f} s, {speed}, at most {outcome.peaks_mb[step]:,.0f} MB")
    cleaned = done["clean"].values()
    counted = {name: sum(counts[name] for counts in cleaned) for name in done["clean"]["general"]}
    counted |= {"near duplicates": done["removed"], "mixed": done["mixed"]}
    print(f"  rows: {', '.join(f'{count:,} {name}' for name, count in counted.items())}", flush=True)


def _demo_tokenizer() -> Path:
    """Folder with tokenizer and chat template of the demo's base model, fetched once into the cache."""
    recipe, store = load_recipe(SHIPPED / "demo.yaml"), Store(home_folder())
    assert isinstance(recipe.model, Model), "the demo begins with a model"
    fetch_model(recipe.model, SHIPPED, store.home / "cache")
    found = tokenizer_folder(recipe, SHIPPED, store)
    assert found is not None, "its model was fetched just now"
    return found


def _memory(small: Outcome, large: Outcome, workers: int) -> dict[str, Any]:
    """Peaks, and whether they keep to what is promised."""
    growth = promised(large.rows - small.rows, large.clustered - small.clustered, workers)
    bounds = {step: small.peaks_mb[step] + growth[step] / 1e6 for step in growth}
    ratio = large.peak_mb / small.peak_mb
    for step, bound in bounds.items():
        told = f"{small.peaks_mb[step]:,.0f} MB → {large.peaks_mb[step]:,.0f} MB"
        print(f"{step}: {told}; its index may grow by {growth[step] / 1e6:,.0f} MB, to {bound:,.0f} MB")
    bound_mb = max(bounds.values())
    holds = ratio <= _MOST_RATIO or large.peak_mb <= bound_mb
    told = f"at most {_MOST_RATIO} times as much, or {bound_mb:,.0f} MB"
    print(f"memory {'holds' if holds else 'DOES NOT HOLD'}: {told}; it is {ratio:.3f} times, {large.peak_mb:,.0f} MB")
    return {
        "peak_rss_small_mb": round(small.peak_mb),
        "peak_rss_large_mb": round(large.peak_mb),
        "rss_ratio": round(ratio, 3),
        "rss_bound_mb": round(bound_mb),
        "rss_holds": holds,
    }


if __name__ == "__main__":
    main()
