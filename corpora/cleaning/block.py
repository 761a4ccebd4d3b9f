"""One block of a source: its rows read, brought into the common schema, and put through the declared steps.

What a block gives lies in a folder of its own as Arrow streams, so that a block of any length takes no more memory
than a batch: `rows`, the clean rows with the key by which repeats are known; `quarantine`; `filtered`, where the rows
that a step removed come from. All of it depends on the block alone, so blocks can be made in any process and order.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from corpora.cleaning.columns import batch_of
from corpora.cleaning.content import content_id
from corpora.cleaning.exact import KEY_BYTES
from corpora.cleaning.steps import load
from corpora.cleaning.tally import StepTally, Tally
from corpora.reading.answers import Answers
from corpora.reading.blocks import Block, read_block
from corpora.reading.formats import Conversation, Item, category_of, choose_format, fitting
from corpora.reading.lines import BadRow, Row, RowError
from corpora.tables import clean_schema, filtered_schema, quarantine_schema
from recipes.schema import Source

if TYPE_CHECKING:
    import pyarrow as pa

KEY = "key"
ROWS, QUARANTINE, FILTERED = "rows.arrow", "quarantine.arrow", "filtered.arrow"

_BATCH_ROWS = 2000
_BATCH_BYTES = 4 << 20


@dataclass(frozen=True)
class Plan:
    """How rows of a source become clean rows. `format` is the name of the one found; `checkpoint` counts tokens."""

    name: str
    source: Source
    format: str
    answers: Answers | None
    folder: Path
    checkpoint: Path | None = None


class Job(NamedTuple):
    """A block, how many of its rows come before the source's limit (None: all), and the folder to fill."""

    block: Block
    take: int | None
    folder: Path


class Cleaner:
    """Cleans one block after another."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        named = plan.source.model_copy(update={"format": plan.format})
        self._format, _ = choose_format(named, plan.answers, [])
        self._steps = [(step.kind, load(step, plan.folder, plan.checkpoint)) for step in plan.source.steps]
        self._content = clean_schema(self._format.kind).names[1:-3]

    def __call__(self, job: Job) -> Tally:
        """What became of the block's rows, but for repeats. Raises CorpusError if a row is of another format."""
        tally = Tally(steps=[StepTally(kind) for kind, _ in self._steps])
        job.folder.mkdir(parents=True)
        with (
            _Stream(job.folder / ROWS, keyed(clean_schema(self._format.kind))) as rows,
            _Stream(job.folder / QUARANTINE, quarantine_schema()) as quarantine,
            _Stream(job.folder / FILTERED, filtered_schema()) as filtered,
        ):
            for row in read_block(job.block):
                counts = not (isinstance(row, BadRow) and row.part)
                tally.read += counts
                if job.take is not None and tally.read > job.take:
                    tally.beyond += counts
                elif isinstance(row, BadRow):
                    self._set_aside(row, tally, quarantine)
                else:
                    self._take(row, tally, rows, quarantine, filtered)
        return tally

    def _take(self, row: Row, tally: Tally, rows: "_Stream", quarantine: "_Stream", filtered: "_Stream") -> None:
        if self._plan.source.format == "auto":
            fitting(self._plan.source.uri, row)
        try:
            item = self._format.read(row.value)
            category = category_of(self._plan.source, row.value)
        except RowError as error:
            bad = BadRow(row.file, row.line, row.byte_offset, str(error), row.raw)
            self._set_aside(bad, tally, quarantine)
            return
        for (kind, apply), counts in zip(self._steps, tally.steps, strict=True):
            counts.before += 1
            applied = apply(item, counts.masked)
            if isinstance(applied, str):
                counts.reasons[applied] += 1
                filtered.add((content_id(item), row.file, row.line, kind, applied), 0)
                return
            item = applied
        rows.add(self._values(item, row, category), len(row.raw))

    def _values(self, item: Item, row: Row, category: str | None) -> tuple[Any, ...]:
        """A clean row in the order of its schema, and its key."""
        number = content_id(item)
        found = {**vars(item), "category": category}
        return (
            number,
            *map(found.get, self._content),
            self._plan.name,
            self._plan.source.group,
            {"file": row.file, "line": row.line},
            bytes.fromhex(number[: 2 * KEY_BYTES]),
        )

    def _set_aside(self, bad: BadRow, tally: Tally, quarantine: "_Stream") -> None:
        if bad.part == 0:
            tally.set_aside(bad)
        quarantine.add(tuple(getattr(bad, name) for name in quarantine_schema().names), len(bad.raw))


def keyed(schema: "pa.Schema") -> "pa.Schema":
    import pyarrow as pa

    return schema.append(pa.field(KEY, pa.binary(KEY_BYTES)))


class _Stream:
    """An Arrow stream being written, a batch of rows at a time."""

    def __init__(self, path: Path, schema: "pa.Schema") -> None:
        import pyarrow as pa

        self._schema = schema
        self._writer = pa.ipc.new_stream(str(path), schema)
        self._waiting: list[tuple[Any, ...]] = []
        self._bytes = 0

    def __enter__(self) -> "_Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        self._writer.close()

    def add(self, row: tuple[Any, ...], size: int) -> None:
        """size: about how many bytes the row holds."""
        self._waiting.append(row)
        self._bytes += size
        if len(self._waiting) == _BATCH_ROWS or self._bytes >= _BATCH_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_batch(batch_of(self._waiting, self._schema))
            self._waiting, self._bytes = [], 0
