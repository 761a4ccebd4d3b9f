"""Every row of a clean corpus, tokenised once, on the side of the split where it belongs.

Rows that are longer than the recipe allows are left out whole and counted, so that none loses its end of turn;
so are conversations whose own words spell a control token, which would forge turns, those with tool calls where the
template cannot express these, those that the template refuses, and the rows that `distinct` found to be copies. A
conversation becomes as many rows as its template needs (`models.turns`). A corpus is worked on in blocks of a fixed
number of its row groups, in any number of processes; what they write (`row_store`) is scratch.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from corpora.mixing.documents import DocumentTokenizer
from corpora.splits import SIDES, Side, side_of
from corpora.tables.row_store import RowStore, writing_part
from corpora.tables.tables import ROWS, facts_of, index_schema, place_of
from corpora.work.run import run_tasks
from lineage.errors import CorpusError
from models.bulk_encoding import EncodedRows, encode_rendered
from models.template import ChatTemplate
from models.thoughts import dropped
from models.tokens import BulkTokenizer
from models.turns import Rendered, last_alone, learns, marked_alone
from recipes.cleaning import Splits
from recipes.execution import CorporaExecution
from recipes.mixtures import LearnedTurns, Long, Mixture, Thinking

VERSION = 4

_GROUPS_A_BLOCK = 4
"""Row groups (of 2,000 rows) that one task tokenises: some seconds of work."""
_SMALL = 16_000
"""Rows that are tokenised in this process: others need seconds until they have loaded a tokenizer."""
_BATCH = 1000
_CHARACTERS = 1 << 20
"""Rows and characters tokenised in one call: a token takes some fifty bytes meanwhile."""

_REASONS = ("near_duplicate", "overlong", "control_tokens", "tools", "template", "unanswered")
"""Why rows are left out; `template`: it refuses them, `unanswered`: they have no turn to learn."""

KINDS = {"conversation": "conversations", "document": "documents"}
"""Kind of a mixture by the kind of its rows."""
_JUDGED = (
    ". Answers that were judged are not imitated: preferences take them; or, if the field that judges them is a class, "
    "name it in the source, as in columns: {category: label}"
)


_Row = tuple[dict[str, Any], Any, Any]
"""A row with its tokens (int32) and which of these the loss counts (bool)."""


@dataclass(frozen=True)
class Tokenisation:
    """All that decides what the tokens of a row are, and whether it is used."""

    kind: str
    checkpoint: Path
    splits: Splits
    max_length: int | None = None
    end_of_text: str | None = None
    thinking: Thinking = "learn"
    turns: LearnedTurns = "all"
    long: Long = "leave_out"

    @classmethod
    def of(cls, mixture: Mixture, checkpoint: Path, splits: Splits) -> "Tokenisation":
        """What a mixture says of it."""
        return cls(
            kind=mixture.kind,
            checkpoint=checkpoint,
            splits=splits,
            max_length=mixture.max_length,
            end_of_text=mixture.end_of_text,
            thinking=mixture.thinking,
            turns=mixture.turns,
            long=mixture.long,
        )


@dataclass(frozen=True)
class Corpus:
    """A clean corpus to tokenise. removed: a parquet file of the ids of rows to leave out, if any."""

    source: str
    group: str
    folder: Path
    removed: Path | None = None


@dataclass(frozen=True)
class TokenIndex:
    """The rows of one source that a mixture may use, by side, and how many were left out for which reason.

    refused: what the template said of the first that it refused, and where that is. more: rows that conversations
    were made into beyond one each. cut: rows that are shown up to an answer that fits. weighted: rows whose answers
    count otherwise than others in the loss.
    """

    source: str
    group: str
    sensitive: bool
    sides: Mapping[Side, RowStore]
    left_out: dict[str, int]
    refused: str | None = None
    more: int = 0
    cut: int = 0
    weighted: int = 0

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


@dataclass
class LeftOut:
    """How many rows were left out, by reason; the first that the template refused; how many rows more than there are
    conversations these were made into; how many rows were cut; and how many are weighed in the loss."""

    rows: dict[str, int] = field(default_factory=dict)
    refused: str | None = None
    more: int = 0
    cut: int = 0
    weighted: int = 0

    def count(self, reason: str, rows: int = 1) -> None:
        self.rows[reason] = self.rows.get(reason, 0) + rows

    def refuse(self, row: Mapping[str, Any], why: CorpusError) -> None:
        self.count("template")
        if self.refused is None:
            self.refused = f"{place_of(row)}: {why}"


def without_words(refused: str | None) -> str | None:
    """What a template said of a row of a sensitive source, without its words: where the row is."""
    return refused and f"{refused.partition(': ')[0]}: its words, and so the template's about them, are not shown"


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
        if KINDS.get(kind) != tokenisation.kind:
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
    left_out = [LeftOut(**told) for told in run_tasks("tokenise", tokenise, blocks, execution, scratch)]
    return [_index(corpus, facts[corpus.source]["sensitive"], blocks, left_out) for corpus in corpora]


def _index(corpus: Corpus, sensitive: bool, blocks: list[_Block], left_out: list[LeftOut]) -> TokenIndex:
    own = [(block, counts) for block, counts in zip(blocks, left_out, strict=True) if block.corpus == corpus]
    sides = {side: RowStore([block.part(side) for block, _ in own]) for side in SIDES}
    reasons = {reason: sum(counts.rows.get(reason, 0) for _, counts in own) for reason in _REASONS}
    refused = next((counts.refused for _, counts in own if counts.refused is not None), None)
    refused = without_words(refused) if sensitive else refused
    sums = {name: sum(getattr(counts, name) for _, counts in own) for name in ("more", "cut", "weighted")}
    return TokenIndex(corpus.source, corpus.group, sensitive, sides, reasons, refused, **sums)


def tokenise(block: _Block) -> dict[str, Any]:
    """Write the parts of one block; returns what `LeftOut` holds."""
    import pyarrow.parquet as pq

    left_out = LeftOut()
    of_kind = "messages" if block.tokenisation.kind == "conversations" else "text"
    with ExitStack() as stack, pq.ParquetFile(block.corpus.folder / ROWS) as file:
        parts = {side: stack.enter_context(writing_part(block.part(side))) for side in SIDES}
        columns = ["id", of_kind, "origin", *(name for name in index_schema().names if name not in ("id", of_kind))]
        present = [name for name in columns if name in file.schema_arrow.names]
        for batch in file.iter_batches(_BATCH, row_groups=list(block.groups), columns=present):
            for rows in _portions(_distinct(batch.to_pylist(), block, left_out)):
                for side, row, ids, supervised in encoded_rows(rows, block.tokenisation, left_out):
                    left_out.weighted += "loss_weights" in row
                    parts[side].add(ids, supervised, row if of_kind == "messages" else {"id": row["id"]})
    return vars(left_out)


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


def _distinct(rows: list[dict[str, Any]], block: _Block, left_out: LeftOut) -> list[dict[str, Any]]:
    if block.corpus.removed is None:
        return rows
    import numpy as np

    removed = _removed(block.corpus.removed)
    ids = np.array([row["id"] for row in rows], removed.dtype)
    places = np.minimum(np.searchsorted(removed, ids), max(0, len(removed) - 1))
    copies = removed[places] == ids if len(removed) else np.zeros(len(ids), bool)
    left_out.count("near_duplicate", int(copies.sum()))
    return [row for row, copy in zip(rows, copies, strict=True) if not copy]


def encoded_rows(
    rows: list[dict[str, Any]], tokenisation: Tokenisation, left_out: LeftOut
) -> Iterator[tuple[Side, *_Row]]:
    """The rows to use, each with its side: what is made of a conversation is on the side of its first question."""
    import numpy as np

    if tokenisation.kind == "documents":
        ends = documents_of(tokenisation.checkpoint, tokenisation.end_of_text)
        found = ends.encode_all([row["text"] for row in rows])
        encoded = EncodedRows(found.ids, np.ones(len(found.ids), bool), found.ends)
    else:
        rows, encoded = _conversations(rows, tokenisation, left_out)
    begin = 0
    for row, end in zip(rows, encoded.ends.tolist(), strict=True):
        side = side_of(row, tokenisation.splits)
        if tokenisation.max_length is None or end - begin <= tokenisation.max_length:
            yield side, row, encoded.ids[begin:end], encoded.supervised[begin:end]
        else:
            shorter, beyond = _shortened(row, tokenisation)
            left_out.cut += bool(shorter)
            left_out.count("overlong", beyond)
            left_out.more += len(shorter) + beyond - 1
            yield from ((side, *one) for one in shorter)
        begin = end


def _shortened(row: dict[str, Any], tokenisation: Tokenisation) -> tuple[list[_Row], int]:
    """What the recipe makes of a row that is too long, and how many rows of it are left out: the whole where none of
    its answers fits, or each answer that does not fit with its question alone."""
    if tokenisation.kind == "documents" or tokenisation.long == "leave_out":
        return [], 1
    learned = [place for place, message in enumerate(row["messages"]) if learns(message)]
    if tokenisation.long == "cut_end":
        ends = (_fitting(row, row["messages"][: place + 1], tokenisation) for place in reversed(learned[:-1]))
        shown = next((found[-1:] for found in ends if found), [])
        return shown, 0 if shown else 1
    pieces: list[list[_Row]] = []
    beyond = 0
    while learned:
        start, piece = _longest_before(row, learned[-1], tokenisation)
        pieces.append(piece)
        beyond += not piece
        learned = [place for place in learned[:-1] if place < start]
    found = [one for piece in reversed(pieces) for one in piece]
    return found, beyond if found else 1


def _longest_before(row: dict[str, Any], last: int, tokenisation: Tokenisation) -> tuple[int, list[_Row]]:
    """The longest piece of a conversation that fits, ends with turn `last` and begins with a question, and where it
    begins; no rows if there is none."""
    messages = row["messages"]
    system = messages[:1] if messages[0]["role"] == "system" else []
    starts = [place for place in range(len(system), last) if messages[place]["role"] == "user"]
    found: tuple[int, list[_Row]] = (last, [])
    low, high = 0, len(starts)  # what fits from one question on fits from each later one
    while low < high:
        middle = (low + high) // 2
        piece = _fitting(row, [*system, *messages[starts[middle] : last + 1]], tokenisation)
        if piece:
            found, high = (starts[middle], piece), middle
        else:
            low = middle + 1
    return found


def _fitting(row: dict[str, Any], messages: list[dict[str, Any]], tokenisation: Tokenisation) -> list[_Row]:
    """The rows that these messages are learned in, if all of them fit."""
    import numpy as np

    template, mask = template_of(tokenisation.checkpoint), tokenisation.thinking == "mask"
    try:
        [rows] = template.rendered([messages], [row.get("tools")], mask=mask)
        encoded = [template.encode_rendered(one) for one in rows]
    except CorpusError:  # what is to be learned was right as a part of the whole
        return []
    if any(len(ids) > (tokenisation.max_length or 0) for ids, _ in encoded):
        return []
    return [
        (_laid_out(row, one, template), np.array(ids, np.int32), np.array(supervised, bool))
        for one, (ids, supervised) in zip(rows, encoded, strict=True)
    ]


def _conversations(
    rows: list[dict[str, Any]], tokenisation: Tokenisation, left_out: LeftOut
) -> tuple[list[dict[str, Any]], EncodedRows]:
    """The rows that the conversations are learned in, each with the messages that it shows."""
    template = template_of(tokenisation.checkpoint)
    if tokenisation.thinking == "drop":
        rows = [{**row, "messages": dropped(row["messages"])} for row in rows]
    if tokenisation.turns != "all":
        alone = last_alone if tokenisation.turns == "last" else marked_alone
        rows = [{**row, "messages": alone(row["messages"])} for row in rows]
    reasons = [template.left_out(row["messages"], row.get("tools")) for row in rows]
    reasons = [
        reason or (None if any(map(learns, row["messages"])) else "unanswered")
        for row, reason in zip(rows, reasons, strict=True)
    ]
    for reason in filter(None, reasons):
        left_out.count(reason)
    rows = [row for row, reason in zip(rows, reasons, strict=True) if reason is None]
    mask = tokenisation.thinking == "mask"

    def rendered(of: list[dict[str, Any]]) -> list[list[Rendered]]:
        return template.rendered([row["messages"] for row in of], [row.get("tools") for row in of], mask=mask)

    bulk = bulk_of(tokenisation.checkpoint)
    try:
        found = rendered(rows)
        encoded = encode_rendered(template, bulk, [one for own in found for one in own])
    except CorpusError:  # one of them: which is found out one by one
        found, kept = [], []
        for row in rows:
            try:
                [own] = rendered([row])
                encode_rendered(template, bulk, own)
            except CorpusError as error:
                left_out.refuse(row, error)
            else:
                kept.append(row)
                found.append(own)
        rows, encoded = kept, encode_rendered(template, bulk, [one for own in found for one in own])
    laid_out = [_laid_out(row, one, template) for row, own in zip(rows, found, strict=True) for one in own]
    left_out.more += len(laid_out) - len(rows)
    return laid_out, encoded


def _laid_out(row: dict[str, Any], one: Rendered, template: ChatTemplate) -> dict[str, Any]:
    weights = template.loss_weights(one)
    row = {name: value for name, value in row.items() if name != "loss_weights"}  # which may be a longer row's
    return {**row, "messages": one.messages, **({} if weights is None else {"loss_weights": weights})}


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
