"""One block of a source: its rows read, brought into the common schema, put through the declared steps and screened.

What a block gives lies in a folder of its own as Arrow streams, so that a block of any length takes no more memory
than a batch: `rows`, the clean rows with the key by which repeats are known and what the screen said; `evidence`, a
line for each row that it spoke of, in the same order; `quarantine`; `filtered`, where the rows that a step removed
come from. All of it depends on the block alone, so blocks can be made in any process and order.
"""

from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from corpora.cleaning.content import content_id, row_id
from corpora.cleaning.exact import KEY_BYTES
from corpora.cleaning.steps import load
from corpora.cleaning.streams import Stream, Values
from corpora.cleaning.tally import StepTally, Tally
from corpora.contamination.evidence import evidence_row, evidence_schema
from corpora.contamination.screen import Screen
from corpora.formats.answers import Answers
from corpora.formats.formats import Item, category_of, choose_format, reader
from corpora.reading.lines import BadRow, Block, Row, RowError, read_block
from corpora.reading.row import NotToBeLearned
from corpora.tables.tables import clean_schema, filtered_schema, quarantine_schema
from recipes.cleaning import Contamination
from recipes.sources import Source

if TYPE_CHECKING:
    import pyarrow as pa

KEY, SCREENED = "key", "screened"
CLEAR, COPY, ALLOWED = 0, 1, 2
"""What the screen says of a row: nothing, that it is a copy of an evaluation item, that it is one and may stay."""

ROWS, EVIDENCE, QUARANTINE, FILTERED = "rows.arrow", "evidence.arrow", "quarantine.arrow", "filtered.arrow"


@dataclass(frozen=True)
class Plan:
    """How rows of a source become clean rows.

    format: name of the one found. checkpoint: whose tokenizer counts tokens. items: of the evaluation; None to hold
    the rows against nothing.
    """

    name: str
    source: Source = field(hash=False)
    format: str
    answers: Answers | None = field(hash=False)
    folder: Path
    checkpoint: Path | None
    items: Path | None
    contamination: Contamination = field(hash=False)


class Job(NamedTuple):
    """A block, how many of its rows come before the source's limit (None: all), and the folder to fill."""

    plan: Plan
    block: Block
    take: int | None
    folder: Path


def clean_block(job: Job) -> dict[str, Any]:
    """Fill the job's folder; the tally of its rows as JSON."""
    return _cleaner(job.plan, job.folder.parent).clean(job).to_json()


class _Cleaner:
    """Models and index that the blocks of a source share."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        named = plan.source.model_copy(update={"format": plan.format})
        format_, _ = choose_format(named, plan.answers, [])
        self.read = reader(plan.source, format_)
        self.steps = [(step.kind, load(step, plan.folder, plan.checkpoint)) for step in plan.source.row_steps]
        self.screen = Screen.load(plan.items, plan.contamination) if plan.items is not None else None
        self.schema = clean_schema(format_.kind)

    def clean(self, job: Job) -> Tally:
        job.folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            return _Cleaning(self, job.folder, stack).run(job)


@lru_cache(maxsize=1)
def _cleaner(plan: Plan, request: Path) -> _Cleaner:
    """Made once for the blocks of one plan and one request that this process cleans one after another."""
    return _Cleaner(plan)


class _Cleaning:
    """One block being cleaned."""

    def __init__(self, cleaner: _Cleaner, folder: Path, stack: ExitStack) -> None:
        self._with = cleaner
        self._tally = Tally(steps=[StepTally(kind) for kind, _ in cleaner.steps])
        self._content = cleaner.schema.names[1:-3]
        self._bad_fields = quarantine_schema().names
        self._evidence = stack.enter_context(Stream(folder / EVIDENCE, evidence_schema()))
        self._rows = stack.enter_context(Stream(folder / ROWS, _marked(cleaner.schema), self._screened))
        self._quarantine = stack.enter_context(Stream(folder / QUARANTINE, quarantine_schema()))
        self._filtered = stack.enter_context(Stream(folder / FILTERED, filtered_schema()))

    def run(self, job: Job) -> Tally:
        for row in read_block(job.block):
            if isinstance(row, BadRow):
                counts = row.part == 0
                self._tally.read += counts
                if self._beyond(job):
                    self._tally.beyond += counts
                else:
                    self._set_aside(row)
            elif job.take is not None and self._tally.read >= job.take:
                self._tally.read += 1
                self._tally.beyond += 1
            else:
                self._take(row, job)
        return self._tally

    def _beyond(self, job: Job) -> bool:
        return job.take is not None and self._tally.read > job.take

    def _take(self, row: Row, job: Job) -> None:
        """A row that holds several counts as so many rows read; none of them is used if one is bad."""
        source = self._with.plan.source
        self._tally.met(row)
        try:
            items = self._with.read(row)
            category = category_of(source, row.value)
        except RowError as error:
            self._tally.read += 1
            self._tally.unwanted += isinstance(error, NotToBeLearned)
            self._set_aside(BadRow(row.file, row.line, row.byte_offset, str(error), row.raw))
            return
        for item in items:
            self._tally.read += 1
            if self._beyond(job):
                self._tally.beyond += 1
            else:
                self._keep(item, row, category)

    def _keep(self, item: Item, row: Row, category: str | None) -> None:
        for (kind, apply), counts in zip(self._with.steps, self._tally.steps, strict=True):
            counts.before += 1
            applied = apply(item, counts.masked)
            if isinstance(applied, str):
                counts.reasons[applied] += 1
                self._filtered.add((content_id(item), row.file, row.line, kind, applied))
                return
            item = applied
        self._rows.add(self._values(item, row, category), len(row.raw))

    def _values(self, item: Item, row: Row, category: str | None) -> Values:
        """A clean row in the order of its schema."""
        found = {**vars(item), "category": category}
        plan = self._with.plan
        origin = {"file": row.file, "line": row.line}
        return (
            row_id(item, plan.format, row.file, row.line),
            *map(found.get, self._content),
            plan.name,
            plan.source.group,
            origin,
        )

    def _screened(self, rows: list[Values]) -> list[Values]:
        """The rows with their keys and what the screen says of each; its evidence is written."""
        verdicts = [CLEAR] * len(rows)
        if self._with.screen is not None:
            records = [dict(zip(self._with.schema.names, row, strict=True)) for row in rows]
            for number, match in enumerate(self._with.screen.matches(records)):
                if match is not None:
                    verdicts[number] = COPY if match.allowed is None else ALLOWED
                    shown = evidence_row(records[number], match, self._with.plan.source.sensitive)
                    self._evidence.add(tuple(shown[name] for name in evidence_schema().names))
        keys = (bytes.fromhex(row[0][: 2 * KEY_BYTES]) for row in rows)
        return [(*row, key, verdict) for row, key, verdict in zip(rows, keys, verdicts, strict=True)]

    def _set_aside(self, bad: BadRow) -> None:
        self._tally.set_aside(bad)
        self._quarantine.add(tuple(getattr(bad, name) for name in self._bad_fields), len(bad.raw))


def _marked(schema: "pa.Schema") -> "pa.Schema":
    import pyarrow as pa

    return schema.append(pa.field(KEY, pa.binary(KEY_BYTES))).append(pa.field(SCREENED, pa.int8()))
