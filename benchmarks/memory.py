"""How much memory a process and all below it take, and how much the corpus steps promise to take.

Resident memory without pages of mapped files, which the kernel takes back when it needs them, ten times a second.
"""

import threading
from collections import Counter

import psutil

_SAMPLED_EVERY_S = 0.1

_SEEN = 16 * 1.02
"""Bytes for each distinct row that cleaning has seen (`cleaning.exact`)."""
_PLACE = 8
"""Bytes for each row where its shingles lie, in every process that verifies (`duplicates.near`); as much, at most,
for telling which hashes come twice, in every process that looks for candidates, before."""
_CLUSTERED = 100
"""Bytes for each row of a cluster (`duplicates.near`)."""
_INDEXED = 16
"""Bytes for each row of the corpora (`mixing.mixture`)."""
_REMOVED = 64
"""Bytes for each row that is left out, in every process that tokenises (`mixing.token_index`)."""


def promised(rows: int, clustered: int, workers: int) -> dict[str, float]:
    """Bytes that each step takes for so many more rows, of which `clustered` say what others say."""
    return {
        "clean": _SEEN * rows,
        "duplicates": _PLACE * rows * workers + _CLUSTERED * clustered,
        "mixture": _INDEXED * rows + _REMOVED * clustered * workers,
    }


class Sampler:
    """The greatest resident memory of a process and all below it, in bytes, by step."""

    def __init__(self, pid: int) -> None:
        self.step = ""
        self.peaks: Counter[str] = Counter()
        self._process = psutil.Process(pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Sampler":
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
