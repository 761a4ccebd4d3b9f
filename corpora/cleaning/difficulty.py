"""The difficulty step: rows kept by how much their prompt helps a model to say their answer (Li et al. 2023).

It comes when everything else is done, on the distinct rows of a source that are copies of nothing: it is by far the
dearest step, and a share of the hardest rows means nothing of less than all of them. It is a part of cleaning, and not
a node of its own, because what it removes is accounted for like what any other step removes. Rows are scored in tasks
of 64, in the processes of `corpora.work.run`, one of them where there is a GPU; what a killed attempt scored is used
again. difficulty.parquet has the losses of every row that was looked at, so that a person can judge the bounds. In
memory are 9 bytes a row.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpora.cleaning.scoring import Rows, Scoring, score, scorer_of, uses_gpu
from corpora.cleaning.tally import StepTally
from corpora.tables.tables import Table, batches_of, filtered_schema, writing
from corpora.work.run import run_tasks
from recipes.cleaning import Difficulty
from recipes.execution import CorporaExecution

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Array = np.ndarray[Any, Any]

SCORES = "difficulty.parquet"

_KIND = "difficulty"
_ROWS_A_TASK = 64
"""A minute of work for a small model on one core: what a kill costs, and how often progress is told."""
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_STAYS = 0
_REASONS = ("", "too easy", "too hard", "not among the hardest")


@dataclass(frozen=True)
class Asked:
    """The step, a table of rows that have an answer, whose weights score them, and a folder for what tasks leave."""

    step: Difficulty
    table: Path
    checkpoint: Path
    execution: CorporaExecution
    scratch: Path


def by_difficulty(asked: Asked, scores: Path, rows: Table, filtered: Table) -> StepTally:
    """Add the rows that stay to `rows` and the others to `filtered`; write all losses to `scores`.

    Raises CorpusError if the checkpoint gives no losses.
    """
    losses = _scored(asked)
    ratios, unscored = _ratios(losses)
    fates = judge(asked.step, ratios)
    _write_scores(losses, ratios, fates, scores)
    place = 0
    for batch in batches_of(asked.table):
        _share_out(batch, fates[place : place + batch.num_rows], rows, filtered)
        place += batch.num_rows
    reasons = Counter(_REASONS[fate] for fate in fates[fates != _STAYS].tolist())
    return StepTally(_KIND, len(fates), reasons, spread={"unscored": unscored, **_spread(ratios)})


def judge(step: Difficulty, ratios: "Array") -> "Array":
    """What becomes of each row, as its place in `_REASONS` (int8): bounds first, then the share of the hardest.

    ratios: of the loss with the prompt to the loss without (float64), NaN of rows that were not scored; these stay.
    Of equal ones the first come first.
    """
    import numpy as np

    fates = np.zeros(len(ratios), np.int8)
    if step.min is not None:
        fates[ratios < step.min] = 1
    if step.max is not None:
        fates[ratios > step.max] = 2
    if step.keep_share is not None:
        within = np.flatnonzero((fates == _STAYS) & ~np.isnan(ratios))
        hardest = within[np.argsort(-ratios[within], kind="stable")]
        fates[hardest[math.ceil(step.keep_share * len(within)) :]] = 3
    return fates


def scores_schema() -> "pa.Schema":
    """`ratio` is the loss with the prompt over the loss without; `removed` says why a row went, if it did."""
    import pyarrow as pa

    numbers = [(name, pa.float64()) for name in ("with_prompt", "without_prompt", "ratio")]
    told = [(name, pa.string()) for name in ("unscored", "removed")]
    return pa.schema([("id", pa.string()), *numbers, ("tokens", pa.int32()), *told])


def _scored(asked: Asked) -> list[Path]:
    """Files with the losses of all rows, in their order."""
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(asked.table)
    tasks: list[Scoring] = []
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group).num_rows
        for start in range(0, rows, _ROWS_A_TASK):
            part = Rows(asked.table, group, start, min(rows, start + _ROWS_A_TASK))
            losses = asked.scratch / f"losses-{len(tasks):06d}.parquet"
            tasks.append(Scoring(part, asked.checkpoint, asked.step.max_length, losses))
    execution = asked.execution
    if execution.runner == "local" and uses_gpu():
        execution = execution.model_copy(update={"workers": 1})
    try:
        run_tasks(_KIND, score, tasks, execution, asked.scratch)
    finally:
        scorer_of.cache_clear()
    return [task.losses for task in tasks]


def _ratios(losses: list[Path]) -> tuple["Array", dict[str, int]]:
    """The ratio of every row, and how many have none, by reason."""
    import numpy as np
    import pyarrow.parquet as pq

    found: list[Array] = [np.empty(0)]
    unscored: dict[str, int] = {}
    for file in losses:
        read = pq.read_table(file)
        behind, alone = (read.column(name).to_numpy().astype(np.float64) for name in ("with_prompt", "without_prompt"))
        with np.errstate(divide="ignore", invalid="ignore"):
            found.append(np.where(alone == 0, 1.0, behind / alone))  # what costs nothing cannot be made easier
        for reason in read.column("unscored").drop_null().to_pylist():
            unscored[reason] = unscored.get(reason, 0) + 1
    return np.concatenate(found), dict(sorted(unscored.items()))


def _write_scores(losses: list[Path], ratios: "Array", fates: "Array", scores: Path) -> None:
    import pyarrow as pa

    place = 0
    with writing(scores, scores_schema()) as written:
        for batch in _batches(losses):
            rows = slice(place, place + batch.num_rows)
            place += batch.num_rows
            columns = {name: batch.column(name) for name in batch.schema.names}
            columns["ratio"] = pa.array(ratios[rows], from_pandas=True)  # NaN is null
            columns["removed"] = pa.array([_REASONS[fate] or None for fate in fates[rows].tolist()], pa.string())
            schema = scores_schema()
            written.extend(pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema))


def _batches(files: list[Path]) -> "Iterator[pa.RecordBatch]":
    for file in files:
        yield from batches_of(file)


def _share_out(batch: "pa.RecordBatch", fates: "Array", rows: Table, filtered: Table) -> None:
    import pyarrow as pa

    stays = pa.array(fates == _STAYS)
    rows.extend(batch.filter(stays))
    read = zip(batch.column("id").to_pylist(), batch.column("origin").to_pylist(), fates.tolist(), strict=True)
    gone = [{"id": id_, **origin, "step": _KIND, "reason": _REASONS[fate]} for id_, origin, fate in read if fate]
    if gone:
        filtered.extend(pa.RecordBatch.from_pylist(gone, schema=filtered_schema()))


def _spread(ratios: "Array") -> dict[str, Any]:
    import numpy as np

    known = ratios[~np.isnan(ratios)]
    quantiles = np.quantile(known, _QUANTILES, method="lower").tolist() if len(known) else []
    return {"scored": len(known), "ratios": dict(zip((f"{q:g}" for q in _QUANTILES), quantiles, strict=False))}
