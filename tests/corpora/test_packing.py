"""Packed documents: end to end and cut, with every token once, in order, under its document's name."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora.mixing.packing import Document, Packer


def packed(batches: list[list[list[int]]], length: int) -> list[dict[str, Any]]:
    """Sequences of documents that are given as ids; a document is called after its place."""
    packer, found, number = Packer(length), [], 0
    for batch in batches:
        names = [Document(str(number + place), "web", "general", 0, number + place == 3) for place in range(len(batch))]
        number += len(batch)
        ids = np.array([token for document in batch for token in document], np.int32)
        found += list(packer.add(ids, np.array([len(document) for document in batch], np.int32), names))
    return [*found, *packer.rest()]


_documents = st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=40), min_size=1, max_size=12)


@given(batches=st.lists(_documents, min_size=1, max_size=5), length=st.integers(1, 30))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_the_sequences_put_together_are_the_documents_put_together(batches: list[list[list[int]]], length: int) -> None:
    sequences = packed(batches, length)
    documents = [document for batch in batches for document in batch]
    assert [t for s in sequences for t in s["input_ids"].tolist()] == [t for d in documents for t in d]
    assert {len(s["input_ids"]) for s in sequences[:-1]} <= {length}
    assert 0 < len(sequences[-1]["input_ids"]) <= length
    pieces: dict[int, list[int]] = {}
    for sequence in sequences:
        assert sequence["document_starts"][0] == 0
        assert sequence["n_tokens"] == len(sequence["input_ids"])
        assert sequence["sensitive"] == any(named["id"] == "3" for named in sequence["documents"])
        ends = [*sequence["document_starts"][1:], sequence["n_tokens"]]
        for start, end, named in zip(sequence["document_starts"], ends, sequence["documents"], strict=True):
            own = pieces.setdefault(int(named["id"]), [])
            assert named["offset"] == len(own) and end > start
            own += sequence["input_ids"][start:end].tolist()
    assert [pieces[number] for number in range(len(documents))] == documents


def test_a_long_document_goes_on_and_the_last_sequence_is_short_not_padded() -> None:
    sequences = packed([[[1, 2], [3, 4, 5, 6, 7, 8, 9]]], 4)
    assert [s["input_ids"].tolist() for s in sequences] == [[1, 2, 3, 4], [5, 6, 7, 8], [9]]
    assert [s["document_starts"] for s in sequences] == [[0, 2], [0], [0]]
    assert [[d["offset"] for d in s["documents"]] for s in sequences] == [[0, 0], [2], [6]]


def test_a_document_that_ends_with_a_sequence_is_not_in_the_next() -> None:
    assert [[d["id"] for d in s["documents"]] for s in packed([[[1, 2]], [[3], [4]]], 2)] == [["0"], ["1", "2"]]
