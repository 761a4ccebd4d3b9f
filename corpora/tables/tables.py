"""Parquet files of the corpora: their schemas, and writing them in batches with the same bytes every time.

What the rows mean is said by those who write them; here lie only names and types, and the facts about a corpus
that travel in the file itself.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpora.tables.shards import shards_of
from lineage.errors import CorpusError

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = "rows.parquet"
QUARANTINE = "quarantine.parquet"
FILTERED = "filtered.parquet"
MANIFEST = "manifest.json"
PAIRS = "pairs.parquet"
PROMPTS = "prompts.parquet"
CANDIDATES = "candidates.parquet"
SIGNAL = "signal.parquet"
UNPAIRED = "unpaired.parquet"
VALIDATION = "validation.parquet"
HELD_OUT = "held_out.parquet"

_BATCH = 2000
_BATCH_BYTES = 16 << 20
_FACTS = b"temper"


class Table:
    """A parquet file being written, in row groups of 2,000 rows, or fewer if these hold 16 MiB."""

    def __init__(self, path: Path, schema: "pa.Schema") -> None:
        import pyarrow.parquet as pq

        self.rows = 0
        self._schema = schema
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        self._waiting: list[dict[str, Any]] = []
        self._batches: list[pa.RecordBatch] = []

    def add(self, row: dict[str, Any]) -> None:
        self._waiting.append(row)
        self.rows += 1
        if len(self._waiting) == _BATCH:
            self._flush()

    def extend(self, batch: "pa.RecordBatch") -> None:
        """Add rows that are columns already; `add` and `extend` are not for the same table."""
        while batch.num_rows:
            room = _BATCH - sum(waiting.num_rows for waiting in self._batches)
            self._batches.append(batch.slice(0, room))
            batch = batch.slice(room)
            held = self._batches
            if sum(part.num_rows for part in held) == _BATCH or sum(part.nbytes for part in held) >= _BATCH_BYTES:
                self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._waiting:
            self._writer.write_table(pa.Table.from_pylist(self._waiting, schema=self._schema))
            self._waiting = []
        if self._batches:
            found = pa.Table.from_batches(self._batches).cast(self._schema).combine_chunks()
            self._writer.write_table(found)
            self.rows += found.num_rows
            self._batches = []


@contextmanager
def writing(path: Path, schema: "pa.Schema", facts: dict[str, Any] | None = None) -> Iterator[Table]:
    """A table that is complete when the block ends. `facts` (JSON) travel in the file's own metadata."""
    if facts is not None:
        schema = schema.with_metadata({_FACTS: json.dumps(facts, sort_keys=True)})
    table = Table(path, schema)
    try:
        yield table
    finally:
        table.close()


def facts_of(path: Path) -> dict[str, Any]:
    """The facts that a table was written with."""
    import pyarrow.parquet as pq

    found = (pq.read_schema(path).metadata or {}).get(_FACTS)
    if found is None:
        raise CorpusError(f"{path}: is not a table of this project")
    facts: dict[str, Any] = json.loads(found)
    return facts


def rows_in(path: Path) -> int:
    """How many rows a table of one file has."""
    import pyarrow.parquet as pq

    return int(pq.read_metadata(path).num_rows)


def rows_of(path: Path, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """Every row in order, a batch in memory at a time."""
    for batch in batches_of(path, columns):
        yield from batch.to_pylist()


def batches_of(path: Path, columns: Sequence[str] | None = None) -> Iterator["pa.RecordBatch"]:
    """Every row of a table, in one file or in shards, as Arrow batches."""
    import pyarrow.parquet as pq

    for shard in shards_of(path):
        with pq.ParquetFile(shard) as file:
            yield from file.iter_batches(batch_size=_BATCH, columns=columns and list(columns))


def clean_schema(kind: str) -> "pa.Schema":
    """Rows of a clean corpus, by kind: conversation, document, preference, unpaired or ranking (`reading.items`)."""
    import pyarrow as pa

    prompt, tools = ("prompt", _messages()), ("tools", pa.string())
    answers = pa.list_(pa.struct([("messages", _messages()), ("score", pa.float64())]))
    content = {
        "conversation": [("messages", _messages()), tools, ("category", pa.string())],
        "document": [("text", pa.string())],
        "preference": [prompt, ("chosen", _messages()), ("rejected", _messages()), tools],
        "unpaired": [prompt, ("completion", _messages()), ("label", pa.bool_()), tools, ("annotator", pa.string())],
        "ranking": [prompt, ("answers", answers), tools, ("annotator", pa.string())],
    }
    origin = pa.struct([("file", pa.string()), ("line", pa.int64())])
    return pa.schema(
        [("id", pa.string()), *content[kind], ("source", pa.string()), ("group", pa.string()), ("origin", origin)]
    )


def quarantine_schema() -> "pa.Schema":
    import pyarrow as pa

    return pa.schema(
        [
            ("file", pa.string()),
            ("line", pa.int64()),
            ("byte_offset", pa.int64()),
            ("reason", pa.string()),
            ("raw", pa.binary()),
            ("part", pa.int32()),
        ]
    )


def filtered_schema() -> "pa.Schema":
    """Rows that a declared step removed: their ids then, where they stand in the source, which step, and why."""
    import pyarrow as pa

    place = [("id", pa.string()), ("file", pa.string()), ("line", pa.int64())]
    return pa.schema([*place, ("step", pa.string()), ("reason", pa.string())])


def index_schema() -> "pa.Schema":
    """Tokenised rows: ids, whether the loss counts each, and how many there are of both; and what each token's loss is
    multiplied by, where that is not 1 throughout."""
    import pyarrow as pa

    return pa.schema(
        [
            ("id", pa.string()),
            ("messages", _messages()),
            ("tools", pa.string()),
            ("input_ids", pa.list_(pa.int32())),
            ("supervised", pa.list_(pa.bool_())),
            ("loss_weights", pa.list_(pa.float32())),
            ("n_tokens", pa.int32()),
            ("n_supervised", pa.int32()),
        ]
    )


def mixture_schema() -> "pa.Schema":
    """Tokenised rows in training order, with where each comes from."""
    import pyarrow as pa

    place = [("source", pa.string()), ("group", pa.string()), ("epoch", pa.int32()), ("sensitive", pa.bool_())]
    return pa.schema([*index_schema(), *place])


def pairs_schema() -> "pa.Schema":
    """A prompt with a better and a worse answer; `margin` is by how much, where the source says so, and `differences`
    by how much by each signal on candidates."""
    import pyarrow as pa

    differences = pa.list_(pa.struct([("signal", pa.string()), ("by", pa.float64())]))
    return _judged_schema([("margin", pa.float64()), ("differences", differences)], ("prompt", "chosen", "rejected"))


def unpaired_schema() -> "pa.Schema":
    """A prompt with one answer; `label` says whether it is good."""
    import pyarrow as pa

    return _judged_schema([("label", pa.bool_())], ("prompt", "completion"))


def _judged_schema(judgement: "list[tuple[str, pa.DataType]]", texts: Sequence[str]) -> "pa.Schema":
    """Rows to learn a preference from: the texts as messages, and each as token ids in `<text>_ids`; `said_by` is where
    the rows or candidates are that say so, each vote once."""
    import pyarrow as pa

    return pa.schema(
        [
            *((name, pa.string()) for name in ("id", "source", "signal")),
            *judgement,
            ("said_by", pa.list_(pa.string())),
            ("sensitive", pa.bool_()),
            ("tools", pa.string()),
            *((name, _messages()) for name in texts),
            *((f"{name}_ids", pa.list_(pa.int32())) for name in texts),
        ]
    )


def prompts_schema() -> "pa.Schema":
    """Prompts that a model answers by itself; `verifier`: JSON (`feedback.verifiers`), `reference`: the words of the
    row's own answer; null if the row brings none."""
    import pyarrow as pa

    names = [(name, pa.string()) for name in ("id", "source", "verifier", "reference")]
    prompt = [("prompt", _messages()), ("prompt_ids", pa.list_(pa.int32()))]
    return pa.schema([*names, ("sensitive", pa.bool_()), *prompt])


def candidates_schema() -> "pa.Schema":
    """Prompts with the answers that a checkpoint gave them.

    Of each answer its `text`, its tokens without the one that stopped it, the log-probability (natural, by the
    checkpoint's own logits) of all of these and the stop, and `finish`: `stop`, or `length` where it was cut.
    """
    import pyarrow as pa

    words = [("text", pa.string()), ("thoughts", pa.string())]
    answer = [*words, ("ids", pa.list_(pa.int32())), ("logprob", pa.float64()), ("finish", pa.string())]
    return pa.schema([*prompts_schema(), ("answers", pa.list_(pa.struct(answer)))])


def signal_schema() -> "pa.Schema":
    """Of each prompt of the candidates, in their order, a number for each answer, or null where there is none."""
    import pyarrow as pa

    return pa.schema([("id", pa.string()), ("values", pa.list_(pa.float64()))])


def _messages() -> "pa.DataType":
    import pyarrow as pa

    return pa.list_(pa.struct([(name, pa.string()) for name in ("role", "content", "tool_calls", "name", "weight")]))


def place_of(row: Mapping[str, Any]) -> str:
    """Where a row of a clean corpus came from, for messages."""
    return f"{row['origin']['file']}:{row['origin']['line']}"


@dataclass(frozen=True)
class KeptRows:
    """The rows of a clean corpus but for those that the search for duplicates left out.

    folder: of the clean corpus. removed: the table of the ids that are left out, if any.
    """

    folder: Path
    removed: Path | None = None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        left_out = self._left_out()
        return (row for row in rows_of(self.folder / ROWS) if row["id"] not in left_out)

    @property
    def kind(self) -> str:
        kind: str = facts_of(self.folder / ROWS)["kind"]
        return kind

    @property
    def duplicates(self) -> int:
        return len(self._left_out())

    def _left_out(self) -> set[str]:
        return set() if self.removed is None else {row["id"] for row in rows_of(self.removed, ["id"])}


def batch_of(rows: Sequence[tuple[Any, ...]], schema: "pa.Schema") -> "pa.RecordBatch":
    """Rows whose values stand in the order of the schema; of a struct's fields those that a dict lacks are null.

    Nested values are flattened level by level instead of row by row, and their types come from the schema, where
    `pyarrow.RecordBatch.from_pylist` looks at every value's anew. On Alpaca rows of 1 KB this is three times as fast.
    """
    import pyarrow as pa

    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    arrays = [_array(values, field.type) for values, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _array(values: Sequence[Any], kind: "pa.DataType") -> "pa.Array":
    import pyarrow as pa

    if pa.types.is_list(kind):
        missing = [value is None for value in values]
        lists = [value or () for value in values]
        offsets = pa.array(accumulate(map(len, lists), initial=0), pa.int32(), size=len(lists) + 1)
        inner = _array(list(chain.from_iterable(lists)), kind.value_type)
        return pa.ListArray.from_arrays(offsets, inner, type=kind, mask=pa.array(missing) if any(missing) else None)
    if pa.types.is_struct(kind):
        missing = [value is None for value in values]
        present = [value or {} for value in values] if any(missing) else values
        fields = [_array([value.get(field.name) for value in present], field.type) for field in kind]
        mask = pa.array(missing) if any(missing) else None
        return pa.StructArray.from_arrays(fields, fields=list(kind), mask=mask)
    return pa.array(values, kind)
