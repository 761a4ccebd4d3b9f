"""Documents put end to end in their scheduled order and cut into sequences of one length.

Concatenate and chunk, not best fit: best fit reorders documents and cuts or pads what does not fit, while here every
token of every document is kept once, in order, so the shares stay exact to the token at every prefix. A document
longer than what is left of a sequence goes on in the next; only the last sequence of all may be shorter, and it is
not padded.

Each sequence says where its documents begin, so that a trainer can keep them apart: attention is isolated by
segments between `document_starts`, and the position of token i is i minus the last start at or before it.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = 1


class Document(NamedTuple):
    """Where the tokens of a sequence come from."""

    id: str
    source: str
    group: str
    epoch: int
    sensitive: bool


def packed_schema() -> "pa.Schema":
    """One sequence a row. `documents` are those that begin or go on at `document_starts` (the first is 0), `offset`
    says how many of the document's tokens lie in sequences before this one."""
    import pyarrow as pa

    text = [(name, pa.string()) for name in ("id", "source", "group")]
    document = pa.struct([*text, ("epoch", pa.int32()), ("offset", pa.int64())])
    return pa.schema(
        [
            ("input_ids", pa.list_(pa.int32())),
            ("document_starts", pa.list_(pa.int32())),
            ("documents", pa.list_(document)),
            ("n_tokens", pa.int32()),
            ("sensitive", pa.bool_()),
        ]
    )


class Packer:
    """Takes documents, gives full sequences; what does not fill one waits for the next documents."""

    def __init__(self, length: int) -> None:
        import numpy as np

        self._length = length
        self._ids: Any = np.empty(0, np.int32)
        self._begins: list[int] = []  # of the waiting documents, before 0 for what has begun in an earlier sequence
        self._documents: list[Document] = []

    def add(self, ids: Any, lengths: Any, documents: Sequence[Document]) -> Iterator[dict[str, Any]]:
        """Append documents: their ids as one flat array, the tokens of each, and what they are."""
        import numpy as np

        ends = len(self._ids) + np.cumsum(lengths, dtype=np.int64)
        self._begins += (ends - lengths).tolist()
        self._documents += documents
        self._ids = np.concatenate([self._ids, ids])
        full = len(self._ids) // self._length
        yield from (self._sequence(number * self._length) for number in range(full))
        self._forget(full * self._length)

    def rest(self) -> Iterator[dict[str, Any]]:
        """The last, shorter sequence, if there is one."""
        if len(self._ids):
            yield self._sequence(0)

    def _sequence(self, start: int) -> dict[str, Any]:
        from bisect import bisect_left, bisect_right

        ids = self._ids[start : start + self._length]
        first = bisect_right(self._begins, start) - 1
        members = range(first, bisect_left(self._begins, start + len(ids)))
        places = [(self._documents[i], self._begins[i] - start) for i in members]
        return {
            "input_ids": ids,
            "document_starts": [max(0, begin) for _, begin in places],
            "documents": [
                {
                    "id": document.id,
                    "source": document.source,
                    "group": document.group,
                    "epoch": document.epoch,
                    "offset": max(0, -begin),
                }
                for document, begin in places
            ],
            "n_tokens": len(ids),
            "sensitive": any(document.sensitive for document, _ in places),
        }

    def _forget(self, done: int) -> None:
        """Drop the first `done` tokens and the documents that ended in them."""
        from bisect import bisect_right

        self._ids = self._ids[done:].copy()
        kept = bisect_right(self._begins, done) - 1 if len(self._ids) else len(self._begins)
        self._begins = [begin - done for begin in self._begins[kept:]]
        self._documents = self._documents[kept:]
