"""Rows that say the same, across all sources of a recipe and inside them, and which of them stay.

Passes over blocks of rows with a barrier behind each: `sketch` (keys and bands), `candidates` (who may be alike),
`verification` (who is); then clusters, survivors (`clusters`) and files (`outcome`). What of a row is compared is said
in `compared`. Memory: a block of texts for each worker; 4 to 8 bytes a row in a pass over the bands and 1 byte here;
about 50 bytes a row with candidates in a verifying worker, about 100 here a row in a cluster. Disk, while it runs:
8 bytes a band and 24 more for each row, and 8 bytes for each shingle of a row with candidates.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpora.duplicates import candidates, verification
from corpora.duplicates.outcome import Outcome, Sources
from corpora.duplicates.sketch import Block, blocks, sketch
from corpora.tasks import atomically, run_tasks
from recipes.corpora import CorporaExecution
from recipes.duplicates import Duplicates

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

VERSION = 1

_SCRATCH = "scratch"
_AT_A_TIME = 1 << 20


def find(sources: dict[str, Path], section: Duplicates, work: Path, execution: CorporaExecution) -> dict[str, Any]:
    """Write clusters.parquet and removed/<source>.parquet of each source into `work` and return the metrics.

    sources: clean folder by name. A second call after a crash goes on from the files that the first left in `work`.
    Raises CorpusError if there are more rows than 2³².
    """
    numbered = Sources.of(sources, section.source_order)
    scratch = work / _SCRATCH
    scratch.mkdir(exist_ok=True)
    cut = blocks(zip(numbered.kinds, numbered.folders, strict=True), section, scratch)
    run_tasks("duplicates_sketch", sketch, cut, execution, scratch)
    copies = candidates.find_copies(cut)
    edges, compared = _near_duplicates(cut, section, copies, scratch, execution)
    outcome = Outcome.of(cut, section, copies, edges)
    metrics = outcome.write(numbered, section, work)
    shutil.rmtree(scratch)
    return {**metrics, "version": VERSION, "compared_pairs": compared}


def _near_duplicates(
    cut: list[Block], section: Duplicates, copies: "Array", scratch: Path, execution: CorporaExecution
) -> tuple["Array", int]:
    """Pairs (uint64: two rows) that hold near duplicates together, and how many pairs were compared."""
    import numpy as np

    from corpora.duplicates import minhash

    bands, _ = minhash.bands_of(section.threshold, section.permutations)
    with atomically(scratch / candidates.COPIES) as path, path.open("wb") as file:
        np.save(file, copies[:, 0])
    passes = candidates.bands_tasks(cut, bands, scratch)
    if not sum(run_tasks("duplicates_candidates", candidates.find_pairs, passes, execution, scratch)):
        return np.zeros(0, np.uint64), 0
    pairs = [task.pairs for task in passes]
    _mark_candidates(pairs, sum(block.rows for block in cut), scratch)
    run_tasks("duplicates_shingles", verification.keep_shingles, cut, execution, scratch)
    verifying = verification.verify_tasks(cut, pairs, scratch)
    compared = run_tasks("duplicates_verify", verification.verify, verifying, execution, scratch)
    return np.concatenate([np.load(task.edges) for task in verifying]), sum(compared)


def _mark_candidates(pairs: Sequence[Path], rows: int, scratch: Path) -> None:
    import numpy as np

    found = np.zeros(rows, bool)
    for path in pairs:
        of_path = np.load(path, mmap_mode="r")
        for at in range(0, len(of_path), _AT_A_TIME):
            some = np.asarray(of_path[at : at + _AT_A_TIME])
            found[some >> np.uint64(32)] = True
            found[some & np.uint64(0xFFFFFFFF)] = True
    with atomically(scratch / verification.CANDIDATES) as path, path.open("wb") as file:
        np.save(file, found)
