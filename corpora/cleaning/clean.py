"""One source, read into the common schema: bad rows into quarantine, poor and repeated ones out, each accounted for.

The source is cut into blocks (`reading.blocks`), which workers clean on their own (`block`); this process puts what
they give together in the order of the source, takes repeats out, and writes the tables. So the bytes are the same
for any number of workers. Memory: a few batches for each worker, and 16 bytes for each distinct row (`exact`). What
a killed attempt leaves behind is made again.
"""

import shutil
from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpora.cleaning import block
from corpora.cleaning.block import Cleaner, Job, Plan
from corpora.cleaning.exact import Seen
from corpora.cleaning.pace import Pace
from corpora.cleaning.tally import StepTally, Tally
from corpora.cleaning.workers import in_order
from corpora.raw import CorpusError
from corpora.reading.answers import load_answers
from corpora.reading.blocks import Block, blocks, read_block
from corpora.reading.formats import Format, choose_format
from corpora.reading.lines import Row
from corpora.sources import fetch
from corpora.tables import FILTERED, QUARANTINE, ROWS, Table, clean_schema, filtered_schema, quarantine_schema, writing
from recipes.schema import Source

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = 2

_SAMPLE = 200
"""Rows read to tell a format."""

_BLOCK_BYTES = 8 << 20
_SMALL = 4 * _BLOCK_BYTES
"""A source of fewer bytes is cleaned in this process: starting workers takes as long as reading it."""

_BLOCKS = "blocks"


def clean(
    name: str,
    source: Source,
    folder: Path,
    cache: Path,
    work: Path,
    *,
    checkpoint: Path | None = None,
    workers: int = 1,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Write rows.parquet, quarantine.parquet and filtered.parquet into `work` and return the metrics.

    name: of the source in its recipe, whose folder is `folder`. checkpoint: of the base model, if a step counts
    tokens. workers: processes at most. tell: is told every few seconds how far it is. Raises CorpusError if the
    source cannot be fetched, is empty, has no clear format, or more bad rows than `max_quarantined`.
    """
    answers = load_answers(folder / source.answers) if source.answers is not None else None
    files = fetch(source, folder, cache).files
    cut = blocks(files, _BLOCK_BYTES)
    sample = list(islice(chain.from_iterable(map(read_block, cut)), _SAMPLE))
    good = [row for row in sample if isinstance(row, Row)]
    if not sample:
        names = ", ".join(file.name for file in files[:5])
        raise CorpusError(f"{source.uri}: source '{name}' is empty: no rows in {names}")
    if not good:
        raise CorpusError(_too_bad(name, source, _tally_of(sample)))
    format_, evidence = choose_format(source, answers, good)
    plan = Plan(name, source, format_.name, answers, folder, checkpoint)
    tally = _written(plan, format_, cut, work, workers, tell)
    if tally.bad_share > source.max_quarantined:
        raise CorpusError(_too_bad(name, source, tally))
    if not tally.kept:
        raise CorpusError(f"{source.uri}: source '{name}' is empty: none of its {tally.read} rows is left")
    facts = {"kind": format_.kind, "format": format_.name, "evidence": evidence, "licence": source.licence}
    return {**tally.metrics(source), **facts}


def _written(
    plan: Plan, format_: Format, cut: list[Block], work: Path, workers: int, tell: Callable[[str], None]
) -> Tally:
    facts = {
        "kind": format_.kind,
        "source": plan.name,
        "group": plan.source.group,
        "licence": plan.source.licence,
        "sensitive": plan.source.sensitive,
    }
    shutil.rmtree(work / _BLOCKS, ignore_errors=True)
    sizes = [_bytes(part) for part in cut]
    workers = 1 if sum(sizes) < _SMALL else min(workers, len(cut))
    pace = Pace(sum(sizes), tell)
    with (
        writing(work / ROWS, clean_schema(format_.kind), facts) as rows,
        writing(work / QUARANTINE, quarantine_schema()) as quarantine,
        writing(work / FILTERED, filtered_schema()) as filtered,
    ):
        merge = _Merge(plan.source, rows, quarantine, filtered)
        jobs = (Job(part, merge.room, work / _BLOCKS / str(number)) for number, part in enumerate(cut))
        for number, found in enumerate(in_order(Cleaner, plan, jobs, workers)):
            place = work / _BLOCKS / str(number)
            if merge.room is not None and found.read - found.beyond > merge.room:  # it began before that was known
                shutil.rmtree(place)
                found = Cleaner(plan)(Job(cut[number], merge.room, place))
            merge.add(found, place)
            shutil.rmtree(place)
            pace.at(sizes[number], merge.tally.read)
    shutil.rmtree(work / _BLOCKS, ignore_errors=True)
    return merge.tally


class _Merge:
    """Blocks put together in their order, without repeats."""

    def __init__(self, source: Source, rows: Table, quarantine: Table, filtered: Table) -> None:
        self.tally = Tally(steps=[StepTally(step.kind) for step in source.steps])
        self._limit = source.limit
        self._seen = Seen()
        self._rows, self._quarantine, self._filtered = rows, quarantine, filtered

    @property
    def room(self) -> int | None:
        """Rows that may still come before the recipe's limit is reached; None without a limit."""
        return None if self._limit is None else max(0, self._limit - self.tally.read)

    def add(self, found: Tally, folder: Path) -> None:
        self.tally.add(found)
        for batch in _batches(folder / block.QUARANTINE):
            self._quarantine.extend(batch)
        for batch in _batches(folder / block.FILTERED):
            self._filtered.extend(batch)
        for batch in _batches(folder / block.ROWS):
            self._keep(batch)

    def _keep(self, batch: "pa.RecordBatch") -> None:
        import pyarrow as pa

        keys = b"".join(batch.column(block.KEY).to_pylist())
        first = self._seen.first(keys)
        kept = int(first.sum())
        self.tally.kept += kept
        self.tally.duplicate += len(first) - kept
        clean = batch.drop_columns([block.KEY])
        self._rows.extend(clean if kept == len(first) else clean.filter(pa.array(first)))


def _batches(path: Path) -> "Iterator[pa.RecordBatch]":
    import pyarrow as pa

    with pa.ipc.open_stream(str(path)) as stream:
        yield from stream


def _bytes(part: Block) -> int:
    return (part.file.path.stat().st_size if part.end is None else part.end) - part.start


def _tally_of(bad: list[Any]) -> Tally:
    tally = Tally(read=len(bad))
    for row in bad:
        tally.set_aside(row)
    return tally


def _too_bad(name: str, source: Source, tally: Tally) -> str:
    reasons = "\n".join(f"  {line}" for line in tally.first)
    return (
        f"{source.uri}: source '{name}': {tally.quarantined} of {tally.read - tally.beyond} rows cannot be used "
        f"({tally.bad_share:.1%}; max_quarantined is {source.max_quarantined:.1%}). The first of them:\n{reasons}\n"
        "Mend the source, name its `format` and `columns`, or raise max_quarantined"
    )
