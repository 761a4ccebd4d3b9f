"""Near duplicates end to end, from texts on disk to clusters: our step against datasketch, on the same documents.

Documents are drawn from a vocabulary with Zipf's frequencies; a share of them are copies of others with some words
changed, so that their similarity lies anywhere from 0.3 to 1. Both sides run in one process, with the same shingles,
permutations and threshold; datasketch in its fastest form (`MinHash.generator`, which hashes many documents at a
time) on a part of the documents, since its time grows with their number. Kernels are compiled before the clock
starts. Recall is against exact Jaccard similarities of all pairs of a sample.
"""

import argparse
import json
import re
import tempfile
import time
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from corpora.duplicates.near import find
from corpora.tables import ROWS, clean_schema
from recipes.corpora import CorporaExecution
from recipes.duplicates import Duplicates

SECTION = Duplicates()
COPIED = 0.1
_WORDS = 50_000
_LENGTHS = (60, 180)
_MOST_CHANGED = 0.15
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
    parser.add_argument("--datasketch-documents", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=1, help="of our step; datasketch has one process")
    parser.add_argument("--seed", type=int, default=17)
    arguments = parser.parse_args()
    figures = measure(arguments.documents, arguments.datasketch_documents, arguments.workers, arguments.seed)
    print(json.dumps(figures))


def measure(documents: int, compared: int, workers: int, seed: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        corpus = generate(Path(folder) / "corpus", documents, seed)
        print(f"{documents:,} documents, {corpus.bytes / 1e6:,.0f} MB", flush=True)
        ours(generate(Path(folder) / "small", 1000, seed), Path(folder) / "warm", 1)
        seconds, clusters = ours(corpus, Path(folder) / "work", workers)
        print(f"corpora.duplicates, {workers} process(es): {documents / seconds:,.0f} documents/s", flush=True)
        theirs = datasketch(corpus, compared)
        print(f"datasketch, 1 process: {theirs:,.0f} documents/s", flush=True)
        found = recall(corpus, clusters)
        print(f"recall at {SECTION.threshold} and more: {found:.4f}", flush=True)
    return {
        "dedup_docs_per_s": round(documents / seconds),
        "dedup_mb_per_s": round(corpus.bytes / seconds / 1e6, 1),
        "datasketch_docs_per_s": round(theirs),
        "dedup_speedup": round(documents / seconds / theirs, 1),
        "dedup_recall": round(found, 4),
    }


def generate(folder: Path, documents: int, seed: int) -> Corpus:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(seed)
    letters = rng.integers(97, 123, (_WORDS, 10)).astype(np.uint8)
    lengths = rng.integers(2, 11, _WORDS)
    vocabulary = np.array([row[:length].tobytes().decode() for row, length in zip(letters, lengths, strict=True)])
    frequency = np.cumsum(1 / np.arange(1, _WORDS + 1))
    draw: Callable[[int], Any] = lambda count: np.searchsorted(frequency, rng.random(count) * frequency[-1])  # noqa: E731
    families = np.arange(documents)
    copies = rng.random(documents) < COPIED
    copies[0] = False
    folder.mkdir()
    texts: list[Any] = []
    size = 0
    schema = clean_schema("document").with_metadata({b"temper": json.dumps({"kind": "document"})})
    with pq.ParquetWriter(folder / ROWS, schema, compression="zstd") as writer:
        for number in range(documents):
            words = draw(int(rng.integers(*_LENGTHS)))
            if copies[number]:
                source = int(rng.integers(max(0, number - 20_000), number))
                families[number] = families[source]
                words = texts[source - number].copy()
                changed = rng.random(len(words)) < rng.random() * _MOST_CHANGED
                words[changed] = draw(int(changed.sum()))
            texts.append(words)
            texts = texts[-20_000:]
            if (len(texts) and (number + 1) % 2000 == 0) or number + 1 == documents:
                fresh = texts[-(number % 2000 + 1) :]
                written = [" ".join(vocabulary[words]).capitalize() + "." for words in fresh]
                size += sum(map(len, written))
                first = number + 1 - len(fresh)
                columns = {
                    "id": [f"{first + place:064x}" for place in range(len(fresh))],
                    "text": written,
                    "source": ["generated"] * len(fresh),
                    "group": ["general"] * len(fresh),
                    "origin": [{"file": "generated", "line": first + place} for place in range(len(fresh))],
                }
                writer.write_table(pa.table(columns, schema=schema))
    return Corpus(folder, families, size)


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


def datasketch(corpus: Corpus, documents: int) -> float:
    """Documents a second: read, shingles, signatures, index, clusters."""
    import pyarrow.parquet as pq
    from datasketch import MinHash, MinHashLSH

    documents = min(documents, corpus.documents)
    start = time.perf_counter()
    index = MinHashLSH(threshold=SECTION.threshold, num_perm=SECTION.permutations)
    with pq.ParquetFile(corpus.folder / ROWS) as file:
        texts = [text for batch in file.iter_batches(2000, columns=["text"]) for text in batch.column(0).to_pylist()]
        begun = time.perf_counter() - start
    start = time.perf_counter() - begun * documents / corpus.documents
    signatures = MinHash.generator(
        (shingles(text) for text in texts[:documents]), num_perm=SECTION.permutations, seed=SECTION.seed + 1
    )
    clusters = list(range(documents))
    for number, signature in enumerate(signatures):
        for other in index.query(signature):
            one, two = _root(clusters, number), _root(clusters, other)
            clusters[max(one, two)] = min(one, two)
        index.insert(number, signature)
    return documents / (time.perf_counter() - start)


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
