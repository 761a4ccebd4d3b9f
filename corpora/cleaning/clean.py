"""One source, read into the common schema: bad rows into quarantine, poor and repeated ones out, each accounted for.

The source is cut into blocks (`reading.lines`), which are cleaned as tasks of their own (`block`, `corpora.work.run`:
processes of this machine or of a cluster); then they are put together in the order of the source (`merge`). So the
bytes are the same wherever blocks are cleaned. Memory: two batches of rows for each worker, and 16 bytes for each
distinct row (`exact`). Disk: until the end, the clean rows once more, compressed. What a killed attempt finished is
used again.
"""

import os
import shutil
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

from corpora.cleaning.block import Job, Plan, clean_block
from corpora.cleaning.difficulty import SCORES, Asked, by_difficulty
from corpora.cleaning.merge import Merge
from corpora.cleaning.tally import Tally
from corpora.contamination.evidence import EVIDENCE, evidence_schema
from corpora.formats.answers import load_answers
from corpora.formats.formats import Format, choose_format
from corpora.reading.lines import BadRow, Block, Row, blocks, read_block
from corpora.sources import fetch
from corpora.tables.tables import FILTERED, QUARANTINE, ROWS, clean_schema, filtered_schema, quarantine_schema, writing
from corpora.work.progress import progress
from corpora.work.run import run_tasks
from lineage.errors import CorpusError
from recipes.cleaning import Contamination
from recipes.execution import CorporaExecution
from recipes.sources import Source

VERSION = 10

_SAMPLE, _SAMPLE_BYTES = 200, 64 << 20
"""Rows read to tell a format; fewer if they are long."""

_BLOCK_BYTES = 16 << 20
_SMALL = 2 * _BLOCK_BYTES
"""A source of fewer bytes is cleaned in this process: starting others takes as long as reading it."""

_FEW = 8
"""Blocks cleaned at first if the source has a limit."""

UNFINISHED = "blocks"
"""The folder of what an attempt that ends early leaves to the next one."""
_SPENT = "blocks.spent"


def clean(
    name: str,
    source: Source,
    folder: Path,
    cache: Path,
    work: Path,
    *,
    items: Path | None = None,
    contamination: Contamination | None = None,
    checkpoint: Path | None = None,
    execution: CorporaExecution | None = None,
) -> dict[str, Any]:
    """Write rows, quarantine, filtered and evidence (parquet) into `work` and return the metrics.

    name: of the source in its recipe, whose folder is `folder`. items: of the recipe's evaluation, as parquet, and
    `contamination`, when a row is a copy of one. checkpoint: of the base model, if a step counts or scores tokens
    (its scores are written beside them). Raises CorpusError if the source cannot be fetched, is empty, has no clear
    format, or more bad rows than `max_quarantined`.
    """
    answers = load_answers(folder / source.answers) if source.answers is not None else None
    files = fetch(source, folder, cache).files
    cut = blocks(files, _BLOCK_BYTES, source.rows)
    sample = _sample(cut)
    good = [row for row in sample if isinstance(row, Row)]
    if not sample:
        names = ", ".join(file.name for file in files[:5])
        raise CorpusError(f"{source.uri}: source '{name}' is empty: no rows in {names}")
    if not good:
        raise CorpusError(_too_bad(name, source, _tally_of(sample)))
    format_, evidence = choose_format(source, answers, good)
    if source.difficulty is not None:
        _must_be_scorable(name, source, format_, checkpoint)
    plan = Plan(name, source, format_.name, answers, folder, checkpoint, items, contamination or Contamination())
    merged = _written(plan, format_.kind, cut, work, execution or CorporaExecution())
    tally = merged.tally
    metrics = tally.metrics(source)
    if items is not None:
        metrics["contamination"] = merged.found.metrics()
        metrics["checks"]["contamination"] = merged.found.check()
    return {
        **metrics,
        "kind": format_.kind,
        "format": format_.name,
        "evidence": evidence,
        "licence": source.licence,
    }


def _sample(cut: list[Block]) -> list[Row | BadRow]:
    found: list[Row | BadRow] = []
    size = 0
    for row in islice(chain.from_iterable(map(read_block, cut)), _SAMPLE):
        found.append(row)
        size += len(row.raw)
        if size >= _SAMPLE_BYTES:
            break
    return found


def _must_be_scorable(name: str, source: Source, format_: Format, checkpoint: Path | None) -> None:
    if format_.kind == "document":
        raise CorpusError(
            f"{source.uri}: source '{name}': a document has no answer; steps.difficulty is for rows that have one"
        )
    if checkpoint is None:
        raise CorpusError(f"{source.uri}: source '{name}': steps.difficulty scores with the base model: make it first")


def _written(plan: Plan, kind: str, cut: list[Block], work: Path, execution: CorporaExecution) -> Merge:
    facts = {
        "kind": kind,
        "source": plan.name,
        "group": plan.source.group,
        "licence": plan.source.licence,
        "sensitive": plan.source.sensitive,
    }
    small = execution.runner == "local" and sum(map(_bytes, cut)) < _SMALL
    shutil.rmtree(work / _SPENT, ignore_errors=True)
    (work / UNFINISHED).mkdir(exist_ok=True)
    schema, step = clean_schema(kind), plan.source.difficulty
    merged = work / ROWS if step is None else work / UNFINISHED / ROWS
    with (
        writing(work / QUARANTINE, quarantine_schema()) as quarantine,
        writing(work / FILTERED, filtered_schema()) as filtered,
    ):
        with writing(merged, schema, facts) as rows, writing(work / EVIDENCE, evidence_schema()) as evidence:
            merge = Merge(plan, rows, quarantine, filtered, evidence)
            here = execution.model_copy(update={"workers": 1}) if small else execution
            _merge(merge, plan, cut, work / UNFINISHED, here)
        _must_be_usable(plan.name, plan.source, merge.tally, work / UNFINISHED)
        if step is not None and plan.checkpoint is not None:
            with writing(work / ROWS, schema, facts) as rows:
                asked = Asked(step, merged, plan.checkpoint, execution, work / UNFINISHED)
                merge.tally.take(by_difficulty(asked, work / SCORES, rows, filtered))
            _must_be_usable(plan.name, plan.source, merge.tally, work / UNFINISHED)
    os.rename(work / UNFINISHED, work / _SPENT)  # at once: what is half deleted must not look finished
    shutil.rmtree(work / _SPENT)
    return merge


def _merge(merge: Merge, plan: Plan, cut: list[Block], scratch: Path, execution: CorporaExecution) -> None:
    with progress(f"{plan.name}: tables", len(cut), "blocks") as advance:
        for first, jobs in _rounds(plan, cut, merge, scratch):
            tallies = run_tasks(f"clean {plan.name} {first}", clean_block, jobs, execution, scratch)
            for job, tally in zip(jobs, map(Tally.from_json, tallies), strict=True):
                _add(merge, job, tally)
                advance(1)


def _must_be_usable(name: str, source: Source, tally: Tally, scratch: Path) -> None:
    if tally.bad_share <= source.max_quarantined and tally.kept:
        return
    shutil.rmtree(scratch)  # another source or recipe is another request: nothing goes on from here
    if tally.bad_share > source.max_quarantined:
        raise CorpusError(_too_bad(name, source, tally))
    counts = {
        **{"quarantined": tally.quarantined, "filtered": tally.filtered, "copies": tally.duplicate},
        "evaluation items": tally.contaminated,
    }
    why = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    told = without_words(tally.first[0]) if tally.first and source.sensitive else "".join(tally.first[:1])
    first = f". The first of them: {told}" if told else ""
    raise CorpusError(f"{source.uri}: source '{name}' is empty: none of its {tally.read} rows is left ({why}){first}")


def _rounds(plan: Plan, cut: list[Block], merge: Merge, folder: Path) -> Iterator[tuple[int, list[Job]]]:
    """Jobs to do side by side, and the number of the first: all of them, or few until the source's limit is reached.

    Rows behind the limit are only counted.
    """
    start, size = 0, len(cut) if plan.source.limit is None else _FEW
    while start < len(cut):
        chosen = cut[start : start + size] if merge.room != 0 else cut[start:]
        yield start, [Job(plan, part, merge.room, folder / str(number)) for number, part in enumerate(chosen, start)]
        start, size = start + len(chosen), 2 * size


def _add(merge: Merge, job: Job, tally: Tally) -> None:
    if merge.room is not None and tally.read - tally.beyond > merge.room:  # the limit lies in this block or before
        tally = Tally.from_json(clean_block(job._replace(take=merge.room)))
    merge.add(tally, job.folder)


def _bytes(part: Block) -> int:
    return (part.file.path.stat().st_size if part.end is None else part.end) - part.start


def without_words(line: str) -> str:
    """A place and the kind of the reason, behind which may stand words of the row."""
    return ": ".join(line.split(": ")[:2])


def _tally_of(bad: list[Row | BadRow]) -> Tally:
    tally = Tally()
    for row in bad:
        if isinstance(row, BadRow):
            tally.read += row.part == 0
            tally.set_aside(row)
    return tally


def _too_bad(name: str, source: Source, tally: Tally) -> str:
    told = (without_words(line) if source.sensitive else line for line in tally.first)
    reasons = "\n".join(f"  {line}" for line in told)
    bad, looked_at = tally.quarantined - tally.unwanted, tally.read - tally.beyond
    return (
        f"{source.uri}: source '{name}': {bad} of {looked_at} rows{tally.told_of_lost} cannot be used "
        f"({tally.bad_share:.1%}; max_quarantined is {source.max_quarantined:.1%}). The first of them:\n{reasons}\n"
        "Mend the source, name its `format` and `columns`, or raise max_quarantined"
    )
