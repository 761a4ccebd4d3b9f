"""Raw text to a mixture at two sizes: how fast, and whether memory stays where it was when the text grows tenfold.

Two sources of generated rows (`generated`) are cleaned, held against evaluation items, freed of near duplicates and
mixed, by the corpus steps themselves (`steps`), in a process whose tree's resident memory is sampled ten times a
second. Pages of mapped files, which the kernel takes back when it needs them, are not counted. Then near duplicates
against datasketch (`duplicates`) and the screen alone (`contamination`).

`python -m benchmarks.corpora` prints on its last line a JSON object: `mb_per_s`, of raw text through all steps at the
larger size; `peak_rss_small_mb`, `peak_rss_large_mb` and `rss_ratio`; and the figures of the other two modules.
"""

import argparse
import json
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from benchmarks import contamination, duplicates, generated
from benchmarks.steps import SHARES
from corpora.contamination.items import ITEMS, items_schema
from corpora.tables import writing
from corpora.tasks import workers_of
from recipes.corpora import CorporaExecution

_SAMPLED_EVERY_S = 0.1
_OF_NEAR_DUPLICATES = ("dedup_docs_per_s", "datasketch_docs_per_s", "dedup_speedup", "dedup_recall")


@dataclass(frozen=True)
class Outcome:
    """All steps over one size of text."""

    megabytes: float
    rows: int
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
        "peak_rss_small_mb": round(small.peak_mb),
        "peak_rss_large_mb": round(large.peak_mb),
        "rss_ratio": round(large.peak_mb / small.peak_mb, 3),
        **{name: near[name] for name in _OF_NEAR_DUPLICATES},
        "decontamination_words_per_s": round(contamination.words_per_second(arguments.words, arguments.seed)),
    }
    print(json.dumps(result))


def measure(megabytes: int, workers: int, seed: int) -> Outcome:
    """Generate so much text and put it through all steps."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        raw = _generate(folder, megabytes * 1_000_000, seed)
        print(f"{raw / 1e6:,.0f} MB generated; {workers} workers", flush=True)
        command = [sys.executable, "-m", "benchmarks.steps", str(folder), str(workers)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process, _Sampler(process.pid) as sampler:
            assert process.stdout is not None
            for line in process.stdout:
                sampler.step = line.strip()
        if process.returncode:
            raise SystemExit(f"the steps ended with status {process.returncode}")
        done = json.loads(sampler.step)
    rows = sum(counts["read"] for counts in done["clean"].values())
    outcome = Outcome(raw / 1e6, rows, done["seconds"], {s: sampler.peaks[s] / 1e6 for s in done["seconds"]})
    _report(outcome, done)
    return outcome


def _generate(folder: Path, size: int, seed: int) -> int:
    """The sources and the evaluation items; bytes of the sources."""
    for number, (name, share) in enumerate(SHARES.items()):
        generated.write(folder / f"{name}.jsonl", round(size * share), seed, seed + number)
    with writing(folder / ITEMS, items_schema()) as table:
        for number, text in enumerate(generated.items(seed)):
            item = {"task": "generated", "item": number, "field": "question", "text": text}
            table.add({**item, "generated": False, "sensitive": False})
    return sum((folder / f"{name}.jsonl").stat().st_size for name in SHARES)


def _report(outcome: Outcome, done: dict[str, Any]) -> None:
    for step, seconds in outcome.seconds.items():
        speed = f"{outcome.rows / seconds:,.0f} rows/s, {outcome.megabytes / seconds:,.1f} MB/s"
        print(f"  {step}: {seconds:,.1f} s, {speed}, at most {outcome.peaks_mb[step]:,.0f} MB")
    cleaned = done["clean"].values()
    counted = {name: sum(counts[name] for counts in cleaned) for name in done["clean"]["general"]}
    counted |= {"near duplicates": done["removed"], "mixed": done["mixed"]}
    print(f"  rows: {', '.join(f'{count:,} {name}' for name, count in counted.items())}", flush=True)


class _Sampler:
    """The greatest resident memory of a process and all below it, in bytes, without pages of mapped files, by step."""

    def __init__(self, pid: int) -> None:
        self.step = ""
        self.peaks: Counter[str] = Counter()
        self._process = psutil.Process(pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "_Sampler":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(_SAMPLED_EVERY_S):
            try:
                tree = [self._process, *self._process.children(recursive=True)]
            except psutil.NoSuchProcess:
                return
            self.peaks[self.step] = max(self.peaks[self.step], sum(map(_resident, tree)))


def _resident(process: psutil.Process) -> int:
    try:
        memory = process.memory_info()
    except psutil.NoSuchProcess:
        return 0
    return int(memory.rss - memory.shared)


if __name__ == "__main__":
    main()
