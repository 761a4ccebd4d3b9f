"""What of a row is compared with other rows.

A conversation has two parts: what was asked (every turn but the assistant's) and what was answered. What a model
learns from a row is the answer to its prompt, so a near duplicate is one in both: the same question answered anew is
not, nor is a long system prompt or document with another short question under it. And rows made from one template
differ in little but what matters, so beyond the similarity of both parts
  - a part that is too short for shingles must be equal ("What is 12 + 7?" is not "What is 12 + 8?"),
  - a row whose answer is too short is a duplicate of an equal row only (the label of a long text to classify),
  - all words with digits must be equal: problems with other numbers are other problems,
  - tools, labels, scores, who judged and what turns say of learning them must be equal.
A document is one part, and may differ in its numbers: a page with another date is a near duplicate. Rows of
different kinds are not compared.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lineage.hashing import text_digest

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Array = np.ndarray[Any, Any]

_ASSISTANT = "assistant"


@dataclass(frozen=True)
class Kind:
    """How rows of one kind are compared.

    columns: read from the table. parts: texts that are compared one by one. answer: the part without whose shingles
    there are no near duplicates. numbers: whether words with digits must be equal.
    """

    columns: tuple[str, ...]
    parts: int
    answer: int
    numbers: bool = True


KINDS = {
    "document": Kind(("text",), 1, 0, numbers=False),
    "conversation": Kind(("messages", "tools"), 2, 1),
    "preference": Kind(("prompt", "chosen", "rejected", "tools"), 3, 1),
    "unpaired": Kind(("prompt", "completion", "label", "tools", "annotator"), 2, 1),
    "ranking": Kind(("prompt", "answers", "tools", "id", "annotator"), 2, 1),
}

MOST_OF_A_VOTE = 2
"""Answers of a row that may be one person's rating or vote; such rows are the same only if their ids are, as are those
that say who judged."""


@dataclass(frozen=True)
class Texts:
    """The texts of a batch of rows, by part and row after row.

    strings, roles: of all texts. order: numbers of texts (int64), those of one part side by side; part p of row r has
    order[parts[i]] to order[parts[i + 1]] for i = r × parts + p (int64). fixed: 64 bits of what must be equal but is
    no text (uint64; rows).
    """

    strings: "pa.Array"
    roles: "Array"
    order: "Array"
    parts: "Array"
    fixed: "Array"


@dataclass(frozen=True)
class _Column:
    """Texts of one column, each of the row `of_row` (int64)."""

    strings: "pa.Array"
    roles: "Array"
    parts_of: "Array"
    of_row: "Array"


def texts(kind: str, batch: "pa.RecordBatch") -> Texts:
    """The compared texts of rows of this kind, which have its columns (those that a table lacks may be left out)."""
    import numpy as np

    fixed = np.full(batch.num_rows, _number(kind), np.uint64)
    if kind == "document":
        every = np.arange(batch.num_rows + 1)
        return Texts(batch.column("text"), np.zeros(batch.num_rows, np.uint32), every[:-1], every, fixed)
    fixed ^= _constant(batch, "tools")
    if kind == "conversation":
        columns = [_messages(batch.column("messages"))]
        fixed ^= _marks(batch.column("messages"))
    elif kind == "ranking":
        columns = [_messages(batch.column("prompt"), 0), _answers(batch.column("answers"))]
        fixed ^= _scores(batch.column("answers")) ^ _votes(batch)
    else:
        names = [name for name in KINDS[kind].columns if name not in ("label", "tools", "annotator")]
        columns = [_messages(batch.column(name), part) for part, name in enumerate(names)]
        fixed ^= _constant(batch, "label") ^ _constant(batch, "annotator")
    return _merged(columns, batch.num_rows, KINDS[kind].parts, fixed)


def _messages(lists: "pa.ListArray", part: int | None = None) -> _Column:
    """The messages of each row; without a part, the assistant's are of part 1 and the others of part 0."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    flat = lists.flatten()
    content, calls = flat.field("content"), _field(flat, "tool_calls")
    if calls is not None and calls.null_count < len(calls):
        content = pc.binary_join_element_wise(content, calls, "\n", null_handling="skip")
    named = flat.field("role").dictionary_encode()
    roles = np.array([_number(role) & 0xFFFFFFFF for role in named.dictionary.to_pylist()], np.uint32)
    by_index = named.indices.to_numpy(zero_copy_only=False)
    if part is None:
        answers = np.array([role == _ASSISTANT for role in named.dictionary.to_pylist()], np.uint8)
        parts_of = answers[by_index]
    else:
        parts_of = np.full(len(flat), part, np.uint8)
    of_row = np.repeat(np.arange(len(lists)), pc.list_value_length(lists).fill_null(0).to_numpy(zero_copy_only=False))
    return _Column(content.cast(pa.string()), roles[by_index], parts_of, of_row)


def _answers(lists: "pa.ListArray") -> _Column:
    import numpy as np
    import pyarrow.compute as pc

    answers = lists.flatten()
    column = _messages(answers.field("messages"), 1)
    of_answer = np.repeat(np.arange(len(lists)), pc.list_value_length(lists).to_numpy(zero_copy_only=False))
    return _Column(column.strings, column.roles, column.parts_of, of_answer[column.of_row])


def _marks(lists: "pa.ListArray") -> "Array":
    """A number for each row that is equal where the turns say the same of learning them; 0 where they say nothing."""
    import numpy as np

    weights = _field(lists.flatten(), "weight")
    if weights is None or weights.null_count == len(weights):
        return np.zeros(len(lists), np.uint64)
    marked = ([message["weight"] for message in row] for row in lists.to_pylist())
    return np.array([_number(repr(own)) if any(own) else 0 for own in marked], np.uint64)


def _scores(lists: "pa.ListArray") -> "Array":
    import numpy as np

    scores = ([answer["score"] for answer in row] for row in lists.to_pylist())
    return np.array([_number(repr(of_row)) for of_row in scores], np.uint64)


def _votes(batch: "pa.RecordBatch") -> "Array":
    """A number for each row of a vote or a rating, or of someone who is named, of which only copies are the same; 0 for
    the others."""
    import numpy as np
    import pyarrow.compute as pc

    votes = pc.list_value_length(batch.column("answers")).to_numpy(zero_copy_only=False) <= MOST_OF_A_VOTE
    votes |= batch.column("annotator").is_valid().to_numpy(zero_copy_only=False)
    return np.where(votes, _constant(batch, "id"), np.uint64(0))


def _constant(batch: "pa.RecordBatch", name: str) -> "Array":
    """A number for each row that is equal where the column is; 0 where it is null or missing."""
    import numpy as np

    if name not in batch.schema.names:
        return np.zeros(batch.num_rows, np.uint64)
    named = batch.column(name).dictionary_encode()
    numbers = np.array([*(_number(str(value)) for value in named.dictionary.to_pylist()), 0], np.uint64)
    indices: Array = numbers[named.indices.fill_null(len(numbers) - 1).to_numpy(zero_copy_only=False)]
    return indices


def _merged(columns: list[_Column], rows: int, parts: int, fixed: "Array") -> Texts:
    import numpy as np
    import pyarrow as pa

    part = np.concatenate([column.of_row * parts + column.parts_of for column in columns])
    starts = np.zeros(rows * parts + 1, np.int64)
    np.cumsum(np.bincount(part, minlength=rows * parts), out=starts[1:])
    return Texts(
        strings=pa.concat_arrays([column.strings for column in columns]),
        roles=np.concatenate([column.roles for column in columns]),
        order=np.argsort(part, kind="stable"),
        parts=starts,
        fixed=fixed,
    )


def _field(structs: "pa.StructArray", name: str) -> "pa.Array | None":
    return structs.field(name) if structs.type.get_field_index(name) >= 0 else None


def _number(text: str) -> int:
    """64 bits of a string."""
    return int(text_digest(text)[:16], 16)
