"""Near duplicates end to end, from texts on disk to clusters: our step against datasketch, on the same documents.

Documents are drawn from a vocabulary with Zipf's frequencies; a share of them are copies of others with some words
changed, so that their similarity lies anywhere from 0.3 to 1. Both sides take the same shingles, permutations and
threshold. Ours runs in one process, whose kernels use two threads. datasketch, which has no threads, is measured on
a part of the documents, since its time grows with their number, and in three forms:

- `datasketch_docs_per_s`, `dedup_speedup`: one process and `MinHash.generator`, its fastest;
- `…_one_by_one…`: a `MinHash` for each document, as in its guide;
- `…_two_processes…`: signatures made in two processes, started before, then one index: the cores that ours has.

`dedup_docs_per_cpu_s` is what ours does in a second of one core. Kernels are compiled before the clock starts.
Recall is against exact Jaccard similarities of all pairs of a sample.
"""

import argparse
import json
import multiprocessing
import os
import re
import tempfile
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from corpora.duplicates.near import find
from corpora.tables.tables import ROWS, clean_schema
from recipes.cleaning import Duplicates
from recipes.execution import CorporaExecution

SECTION = Duplicates()
COPIED = 0.1
_WORDS = 50_000
_LENGTHS = (60, 180)
_MOST_CHANGED = 0.15
_GROUP = 20_000
"""Documents generated at a time; copies are of documents of the same group."""
_OF_DATASKETCH = 6_000
_SAMPLED = 10
"""One family of documents in this many is compared pair by pair."""


@dataclass(frozen=True)
class Corpus:
    """Documents on disk as a clean corpus; those of one family were made from one another."""

    folder: Path
    families: Any
    bytes: int

    @property
    def documents(self) -> int:
        return len(self.families)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=400_000)
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--workers", type=int, default=1, help="processes of our step; datasketch has one")
    arguments = parser.parse_args()
    print(json.dumps(figures(arguments.documents, arguments.seed, arguments.workers)))


def figures(documents: int, seed: int, workers: int = 1) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        corpus = generate(Path(folder) / "corpus", documents, seed)
        print(f"{documents:,} documents, {corpus.bytes / 1e6:,.0f} MB", flush=True)
        ours(generate(Path(folder) / "small", 1000, seed), Path(folder) / "warm", 1)
        spent = _cpu_seconds()
        seconds, clusters = ours(corpus, Path(folder) / "work", workers)
        spent = _cpu_seconds() - spent
        print(f"corpora.duplicates, {workers} process(es): {documents / seconds:,.0f} documents/s", flush=True)
        theirs, guide = (datasketch(corpus, signed) for signed in (at_once, one_by_one))
        with in_two_processes() as signed:
            both = datasketch(corpus, signed)
        print(
            f"datasketch, 1 process: {theirs:,.0f}, one by one {guide:,.0f}; 2 processes: {both:,.0f} documents/s",
            flush=True,
        )
        found = recall(corpus, clusters)
        print(f"recall at {SECTION.threshold} and more: {found:.4f}", flush=True)
    return {
        "dedup_docs_per_s": round(documents / seconds),
        "dedup_docs_per_cpu_s": round(documents / spent),
        "dedup_mb_per_s": round(corpus.bytes / seconds / 1e6, 1),
        "datasketch_docs_per_s": round(theirs),
        "dedup_speedup": round(documents / seconds / theirs, 1),
        "datasketch_one_by_one_docs_per_s": round(guide),
        "dedup_speedup_over_one_by_one": round(documents / seconds / guide, 1),
        "datasketch_two_processes_docs_per_s": round(both),
        "dedup_speedup_over_two_processes": round(documents / seconds / both, 1),
        "dedup_recall": round(found, 4),
    }


def _cpu_seconds() -> float:
    """Of this process and of those that it has seen end."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def generate(folder: Path, documents: int, seed: int) -> Corpus:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(seed)
    letters, lengths = rng.integers(97, 123, (_WORDS, 10)).astype(np.uint8), rng.integers(2, 11, _WORDS)
    vocabulary = np.array([row[:length].tobytes().decode() for row, length in zip(letters, lengths, strict=True)])
    frequency = np.cumsum(1 / np.arange(1, _WORDS + 1))
    families, size = np.arange(documents), 0
    schema = clean_schema("document").with_metadata({b"temper": json.dumps({"kind": "document"})})
    folder.mkdir()
    with pq.ParquetWriter(folder / ROWS, schema, compression="zstd") as writer:
        for first in range(0, documents, _GROUP):
            count = min(_GROUP, documents - first)
            ends = np.cumsum(rng.integers(*_LENGTHS, count))
            drawn = np.searchsorted(frequency, rng.random(ends[-1]) * frequency[-1])
            texts = np.split(drawn, ends[:-1])
            for place in np.flatnonzero(rng.random(count) < COPIED)[1:]:
                source = int(rng.integers(place))
                families[first + place] = families[first + source]
                texts[place] = _changed(texts[source], drawn, rng)
            written = [" ".join(vocabulary[words]).capitalize() + "." for words in texts]
            size += sum(map(len, written))
            numbers = range(first, first + count)
            columns = {
                "id": [f"{number:064x}" for number in numbers],
                "text": written,
                "source": ["generated"] * count,
                "group": ["general"] * count,
                "origin": [{"file": "generated", "line": number} for number in numbers],
            }
            writer.write_table(pa.table(columns, schema=schema), row_group_size=2000)
    return Corpus(folder, families, size)


def _changed(words: Any, others: Any, rng: np.random.Generator) -> Any:
    """The words, up to `_MOST_CHANGED` of them replaced."""
    copy = words.copy()
    places = rng.random(len(copy)) < rng.random() * _MOST_CHANGED
    copy[places] = rng.choice(others, int(places.sum()))
    return copy


def ours(corpus: Corpus, work: Path, workers: int) -> tuple[float, Any]:
    """Seconds, and the cluster of each document (-1: none)."""
    import pyarrow.parquet as pq

    work.mkdir()
    start = time.perf_counter()
    find({"generated": corpus.folder}, SECTION, work, CorporaExecution(workers=workers))
    seconds = time.perf_counter() - start
    found = np.full(corpus.documents, -1)
    table = pq.read_table(work / "clusters.parquet")
    found[[int(identity, 16) for identity in table["id"].to_pylist()]] = table["cluster"].to_numpy()
    return seconds, found


def datasketch(corpus: Corpus, signed: Callable[[list[str]], Iterable[Any]]) -> float:
    """Documents a second of the first ones: read, shingles, signatures, index, clusters."""
    import pyarrow.parquet as pq
    from datasketch import MinHashLSH

    start = time.perf_counter()
    with pq.ParquetFile(corpus.folder / ROWS) as file:
        groups = range(min(file.num_row_groups, _OF_DATASKETCH // 2000))
        texts = file.read_row_groups(list(groups), columns=["text"])["text"].to_pylist()
    index = MinHashLSH(threshold=SECTION.threshold, num_perm=SECTION.permutations)
    clusters = list(range(len(texts)))
    for number, signature in enumerate(signed(texts)):
        for other in index.query(signature):
            one, two = _root(clusters, number), _root(clusters, other)
            clusters[max(one, two)] = min(one, two)
        index.insert(number, signature)
    return len(texts) / (time.perf_counter() - start)


def one_by_one(texts: list[str]) -> Iterator[Any]:
    from datasketch import MinHash

    for text in texts:
        signature = MinHash(num_perm=SECTION.permutations, seed=SECTION.seed + 1)
        signature.update_batch(shingles(text))
        yield signature


def at_once(texts: list[str]) -> Iterable[Any]:
    from datasketch import MinHash

    found: Iterable[Any] = MinHash.generator(map(shingles, texts), num_perm=SECTION.permutations, seed=SECTION.seed + 1)
    return found


@contextmanager
def in_two_processes() -> Iterator[Callable[[list[str]], Iterator[Any]]]:
    """A function like the others, whose processes have been started."""
    from datasketch import LeanMinHash

    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(_hash_values, [["a b c d"]] * 2, chunksize=1))

        def signed(texts: list[str]) -> Iterator[Any]:
            half = len(texts) // 2
            for values in pool.map(_hash_values, (texts[:half], texts[half:])):
                for value in values:
                    yield LeanMinHash(seed=SECTION.seed + 1, hashvalues=value, scheme="affine32")

        yield signed


def _hash_values(texts: list[str]) -> Any:
    return np.stack([signature.hashvalues for signature in at_once(texts)])


def _root(clusters: list[int], number: int) -> int:
    while clusters[number] != number:
        clusters[number] = clusters[clusters[number]]
        number = clusters[number]
    return number


def shingles(text: str) -> set[bytes]:
    words = re.findall(r"\w+", unicodedata.normalize("NFKC", text).lower())
    size = SECTION.shingle
    return {" ".join(words[at : at + size]).encode() for at in range(len(words) - size + 1)}


def recall(corpus: Corpus, clusters: Any) -> float:
    """Share of a sample's pairs with a similarity of the threshold or more that lie in one cluster."""
    import pyarrow.parquet as pq
    from scipy.sparse import coo_array

    chosen = np.flatnonzero(corpus.families % _SAMPLED == 0)
    texts = pq.read_table(corpus.folder / ROWS, columns=["text"])["text"].take(chosen).to_pylist()
    numbers: dict[bytes, int] = {}
    rows, columns = [], []
    for row, text in enumerate(texts):
        for shingle in shingles(text):
            rows.append(row)
            columns.append(numbers.setdefault(shingle, len(numbers)))
    held = coo_array((np.ones(len(rows), np.int32), (rows, columns))).tocsr()
    common = (held @ held.T).tocoo()
    one, two = common.coords
    sizes = np.asarray(held.sum(axis=1)).ravel()
    similar = common.data / (sizes[one] + sizes[two] - common.data) >= SECTION.threshold
    pairs = similar & (one < two)
    print(f"{pairs.sum():,} pairs among {len(chosen):,} documents", flush=True)
    together = clusters[chosen][one[pairs]] == clusters[chosen][two[pairs]]
    return float((together & (clusters[chosen][one[pairs]] >= 0)).mean())


if __name__ == "__main__":
    main()
