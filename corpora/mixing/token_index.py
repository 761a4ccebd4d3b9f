"""Every row of a clean corpus, tokenised once, on the side of the split where it belongs.

Rows that are longer than the recipe allows are left out whole and counted, so that none loses its end of turn;
so are conversations whose own words spell a control token, which would forge turns, those with tool calls where the
template cannot express these, and the rows that `distinct` found to be copies. A corpus is worked on in blocks of a
fixed number of its row groups, in any number of processes; what they write (`row_store`) is scratch.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from corpora.mixing.documents import DocumentTokenizer
from corpora.splits import SIDES, Side, side_of
from corpora.tables.row_store import RowStore, writing_part
from corpora.tables.tables import ROWS, facts_of, index_schema
from corpora.work.run import run_tasks
from lineage.errors import CorpusError
from models.bulk_encoding import EncodedRows, encode_conversations
from models.template import ChatTemplate
from models.tokens import BulkTokenizer
from recipes.cleaning import Splits
from recipes.execution import CorporaExecution

VERSION = 1

_GROUPS_A_BLOCK = 4
"""Row groups (of 2,000 rows) that one task tokenises: some seconds of work."""
_SMALL = 16_000
"""Rows that are tokenised in this process: others need seconds until they have loaded a tokenizer."""
_BATCH = 1000
_CHARACTERS = 1 << 20
"""Rows and characters tokenised in one call: a token takes some fifty bytes meanwhile."""

_KINDS = {"conversation": "conversations", "document": "documents"}
_JUDGED = (
    ". Answers that were judged are not imitated: preferences take them; or, if the field that judges them is a class, "
    "name it in the source, as in columns: {category: label}"
)


@dataclass(frozen=True)
class Tokenisation:
    """All that decides what the tokens of a row are, and whether it is used."""

    kind: str
    checkpoint: Path
    splits: Splits
    max_length: int | None = None
    end_of_text: str | None = None


@dataclass(frozen=True)
class Corpus:
    """A clean corpus to tokenise. removed: a parquet file of the ids of rows to leave out, if any."""

    source: str
    group: str
    folder: Path
    removed: Path | None = None


@dataclass(frozen=True)
class TokenIndex:
    """The rows of one source that a mixture may use, by side, and how many were left out for which reason."""

    source: str
    group: str
    sensitive: bool
    sides: Mapping[Side, RowStore]
    left_out: dict[str, int]

    @property
    def rows(self) -> RowStore:
        """Those to train on."""
        return self.sides["train"]

    def units(self, unit: str) -> Any:
        """Units of each row to train on, as an int32 array: supervised tokens, tokens, or 1."""
        import numpy as np

        if unit == "rows":
            return np.broadcast_to(np.int32(1), len(self.rows))
        return self.rows.supervised if unit == "supervised_tokens" else self.rows.tokens


@dataclass(frozen=True)
class _Block:
    """One task: some row groups of a corpus, and the path (without suffix) of what it writes."""

    corpus: Corpus
    tokenisation: Tokenisation
    groups: tuple[int, ...]
    path: Path

    def part(self, side: Side) -> Path:
        return self.path.with_name(f"{self.path.name}.{side}.rows")


def build_indexes(
    corpora: Sequence[Corpus], tokenisation: Tokenisation, scratch: Path, execution: CorporaExecution
) -> list[TokenIndex]:
    """Tokenise clean corpora. Raises CorpusError if one of them does not hold rows of the mixture's kind."""
    import pyarrow.parquet as pq

    facts = {corpus.source: facts_of(corpus.folder / ROWS) for corpus in corpora}
    blocks, rows = [], 0
    for corpus in corpora:
        kind = facts[corpus.source]["kind"]
        if _KINDS.get(kind) != tokenisation.kind:
            raise CorpusError(
                f"source '{corpus.source}' holds {kind} rows; this mixture takes {tokenisation.kind} (its `kind`)"
                + (_JUDGED if kind == "unpaired" else "")
            )
        held = pq.read_metadata(corpus.folder / ROWS)
        rows += held.num_rows
        groups = range(held.num_row_groups)
        for start in range(0, len(groups) or 1, _GROUPS_A_BLOCK):
            path = scratch / f"{corpus.source}-{start:06d}"
            blocks.append(_Block(corpus, tokenisation, tuple(groups[start : start + _GROUPS_A_BLOCK]), path))
    if rows <= _SMALL and execution.runner == "local":
        execution = CorporaExecution(workers=1)
    left_out = run_tasks("tokenise", tokenise, blocks, execution, scratch)
    return [_index(corpus, facts[corpus.source]["sensitive"], blocks, left_out) for corpus in corpora]


def _index(corpus: Corpus, sensitive: bool, blocks: list[_Block], left_out: list[dict[str, int]]) -> TokenIndex:
    own = [(block, counts) for block, counts in zip(blocks, left_out, strict=True) if block.corpus == corpus]
    sides = {side: RowStore([block.part(side) for block, _ in own]) for side in SIDES}
    reasons = {reason: sum(counts[reason] for _, counts in own) for reason in own[0][1]}
    return TokenIndex(corpus.source, corpus.group, sensitive, sides, reasons)


def tokenise(block: _Block) -> dict[str, int]:
    """Write the parts of one block; returns how many rows were left out, by reason."""
    import pyarrow.parquet as pq

    left_out = Counter({"near_duplicate": 0, "overlong": 0, "control_tokens": 0, "tools": 0})
    of_kind = "messages" if block.tokenisation.kind == "conversations" else "text"
    with ExitStack() as stack, pq.ParquetFile(block.corpus.folder / ROWS) as file:
        parts = {side: stack.enter_context(writing_part(block.part(side))) for side in SIDES}
        columns = ["id", of_kind, *(name for name in index_schema().names if name not in ("id", of_kind))]
        present = [name for name in columns if name in file.schema_arrow.names]
        for batch in file.iter_batches(_BATCH, row_groups=list(block.groups), columns=present):
            for rows in _portions(_distinct(batch.to_pylist(), block, left_out)):
                for row, ids, supervised in _encoded(rows, block.tokenisation, left_out):
                    rest = row if of_kind == "messages" else {"id": row["id"]}
                    parts[side_of(row, block.tokenisation.splits)].add(ids, supervised, rest)
    return dict(left_out)


def _portions(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """The rows in runs of at most a million characters, a longer row by itself."""
    held: list[dict[str, Any]] = []
    characters = 0
    for row in rows:
        own = len(row["text"]) if "text" in row else sum(len(message["content"]) for message in row["messages"])
        if held and characters + own > _CHARACTERS:
            yield held
            held, characters = [], 0
        held.append(row)
        characters += own
    if held:
        yield held


def _distinct(rows: list[dict[str, Any]], block: _Block, left_out: Counter[str]) -> list[dict[str, Any]]:
    if block.corpus.removed is None:
        return rows
    import numpy as np

    removed = _removed(block.corpus.removed)
    ids = np.array([row["id"] for row in rows], removed.dtype)
    places = np.minimum(np.searchsorted(removed, ids), max(0, len(removed) - 1))
    copies = removed[places] == ids if len(removed) else np.zeros(len(ids), bool)
    left_out["near_duplicate"] += int(copies.sum())
    return [row for row, copy in zip(rows, copies, strict=True) if not copy]


def _encoded(
    rows: list[dict[str, Any]], tokenisation: Tokenisation, left_out: Counter[str]
) -> Iterator[tuple[dict[str, Any], Any, Any]]:
    """The rows that can be used, with their tokens (int32) and which of these the loss counts (bool)."""
    import numpy as np

    if tokenisation.kind == "documents":
        ends = documents_of(tokenisation.checkpoint, tokenisation.end_of_text)
        found = ends.encode_all([row["text"] for row in rows])
        encoded = EncodedRows(found.ids, np.ones(len(found.ids), bool), found.ends)
    else:
        template = template_of(tokenisation.checkpoint)
        reasons = [template.left_out(row["messages"], row.get("tools")) for row in rows]
        left_out.update(reason for reason in reasons if reason is not None)
        rows = [row for row, reason in zip(rows, reasons, strict=True) if reason is None]
        conversations, tools = [row["messages"] for row in rows], [row.get("tools") for row in rows]
        encoded = encode_conversations(template, bulk_of(tokenisation.checkpoint), conversations, tools)
    begin = 0
    for row, end in zip(rows, encoded.ends.tolist(), strict=True):
        if tokenisation.max_length is not None and end - begin > tokenisation.max_length:
            left_out["overlong"] += 1
        else:
            yield row, encoded.ids[begin:end], encoded.supervised[begin:end]
        begin = end


@lru_cache(maxsize=1)
def template_of(checkpoint: Path) -> ChatTemplate:
    """`ChatTemplate.load`, once for a checkpoint: it takes as long as tokenising a thousand rows."""
    return ChatTemplate.load(checkpoint)


@lru_cache(maxsize=1)
def bulk_of(checkpoint: Path) -> BulkTokenizer:
    return BulkTokenizer(template_of(checkpoint).tokenizer)


@lru_cache(maxsize=1)
def documents_of(checkpoint: Path, end_of_text: str | None) -> DocumentTokenizer:
    return DocumentTokenizer.load(checkpoint, end_of_text)


@lru_cache(maxsize=4)
def _removed(path: Path) -> Any:
    """Ids to leave out, sorted: 64 bytes each."""
    import numpy as np
    import pyarrow.parquet as pq

    return np.sort(pq.read_table(path, columns=["id"]).column("id").to_numpy(zero_copy_only=False).astype("S64"))
