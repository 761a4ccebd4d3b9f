"""Rows that say the same, across all sources of a recipe and inside them, and which of them stay.

Passes over blocks of rows with a barrier behind each: `sketch` (keys and bands), `candidates` (who may be alike),
`verification` (who is); then clusters, survivors (`clusters`) and files (`outcome`). What of a row is compared is said
in `compared`. Memory: a block of texts for each worker, 8 bytes for each row, and about 100 for each row in a cluster.
Disk, while it runs: about as much as the texts (8 bytes a band and 52 more for each row, and 4 for each word).
"""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpora.duplicates import candidates, verification
from corpora.duplicates.outcome import Outcome, Sources
from corpora.duplicates.sketch import Block, blocks, sketch
from corpora.work.run import run_tasks
from lineage.files import atomically
from recipes.cleaning import Duplicates
from recipes.execution import CorporaExecution

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

VERSION = 4

UNFINISHED = "scratch"
"""The folder of what an attempt that ends early leaves to the next one."""


def find(sources: dict[str, Path], section: Duplicates, work: Path, execution: CorporaExecution) -> dict[str, Any]:
    """Write clusters.parquet and removed/<source>.parquet of each source into `work` and return the metrics.

    sources: clean folder by name. A second call after a crash goes on from what the first left in `work`.
    Raises CorpusError if there are more rows than 2³².
    """
    numbered = Sources.of(sources, section.source_order)
    scratch = work / UNFINISHED
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
    pairs = tuple(task.pairs for task in passes)
    verifying = [verification.Verifying(block, pairs, tuple(cut)) for block in cut]
    compared = run_tasks("duplicates_verify", verification.verify, verifying, execution, scratch)
    return np.concatenate([np.load(block.file(verification.EDGES)) for block in cut]), sum(compared)
