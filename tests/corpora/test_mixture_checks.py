"""The checks of a mixture fail when the file that they read is wrong."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpora.mixing.documents import DocumentTokenizer
from corpora.mixing.mixture_checks import check_conversations, check_documents
from corpora.mixing.packing import packed_schema
from corpora.tables.tables import mixture_schema
from models.template import ChatTemplate
from tests.corpora.made import cleaned, talk

SHARED_OUT = {"planned": {"g": 0.5}, "tolerance": 0.01, "bound": 0.02, "within_tolerance_from": 1}


def checked(base: Path, path: Path, share: float = 0.5, **changed: Any) -> dict[str, bool]:
    template = ChatTemplate.load(base)
    messages = talk("why", "because it is so")["messages"]
    ids, supervised = template.encode(messages)
    row = {
        "id": "1",
        "source": "a",
        "group": "g",
        "epoch": 0,
        "messages": messages,
        "input_ids": ids,
        "supervised": supervised,
        "n_tokens": len(ids),
        "n_supervised": sum(supervised),
        "sensitive": False,
    }
    row |= {name: change(row[name]) for name, change in changed.items()}
    pq.write_table(pa.Table.from_pylist([row], schema=mixture_schema()), path)
    manifest = {"rows": 1, "units": 1, **SHARED_OUT, "realised": {"g": {"share": share}}}
    return {name: check["passed"] for name, check in check_conversations(path, template, manifest).items()}


@pytest.mark.invariants
@pytest.mark.parametrize(
    ("changed", "failing"),
    [
        ({}, set()),
        ({"supervised": lambda mask: [*mask[1:], False]}, {"template_parity", "supervised_end_of_turn"}),
        ({"supervised": lambda mask: [True] * len(mask)}, {"template_parity"}),
        ({"supervised": lambda mask: [False] * len(mask)}, {"template_parity", "supervised_end_of_turn"}),
        ({"input_ids": lambda ids: [*ids[:-1], 5]}, {"template_parity"}),
    ],
)
def test_wrong_tokens_and_masks_are_found(
    tiny_base: Path, tmp_path: Path, changed: dict[str, Any], failing: set[str]
) -> None:
    passed = checked(tiny_base, tmp_path / "rows.parquet", **changed)
    assert {name for name, ok in passed.items() if not ok} == failing


def test_a_share_beyond_the_tolerance_is_found(tiny_base: Path, tmp_path: Path) -> None:
    assert checked(tiny_base, tmp_path / "rows.parquet", share=0.509)["shares"]
    assert not checked(tiny_base, tmp_path / "rows.parquet", share=0.511)["shares"]


def test_rows_too_long_for_the_tolerance_are_a_warning(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert checked(tiny_base, tmp_path / "rows.parquet")["share_bound"]
    monkeypatch.setitem(SHARED_OUT, "within_tolerance_from", 2)
    assert not checked(tiny_base, tmp_path / "rows.parquet")["share_bound"]


@pytest.mark.parametrize(
    ("sequences", "failing"),
    [
        ([([0, 1, 2, 3], [0]), ([4, 9], [0])], set()),
        ([([0, 1, 2], [0]), ([3, 4, 9], [0])], {"sequences_full"}),
        ([([0, 1, 2, 3], [0]), ([9], [0])], {"sequences_full", "documents_whole"}),
        ([([0, 1, 2, 4], [0]), ([3, 9], [0])], {"documents_whole"}),
        ([([0, 1, 2, 3], [0, 2]), ([4, 9], [0])], {"documents_whole"}),
    ],
)
def test_short_sequences_and_broken_documents_are_found(
    tiny_base: Path, tmp_path: Path, sequences: list[tuple[list[int], list[int]]], failing: set[str]
) -> None:
    tokenizer = DocumentTokenizer.load(tiny_base, None)
    clean = cleaned(tmp_path, "web", [{"text": "a quiet river of stone"}])
    [document] = pq.read_table(clean / "rows.parquet").to_pylist()
    expected = tokenizer.encode_one(document["text"])
    token = {number: expected[number] for number in range(len(expected) - 1)} | {9: expected[-1]}
    assert len(expected) == 6
    rows = [
        {
            "input_ids": [token[i] for i in ids],
            "document_starts": starts,
            "documents": [
                {"id": document["id"] if n == 0 else "other", "epoch": 0, "offset": 0} for n in range(len(starts))
            ],
            "n_tokens": len(ids),
        }
        for ids, starts in sequences
    ]
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=packed_schema()), path)
    manifest = {**SHARED_OUT, "realised": {"g": {"share": 0.5}}, "units": 6, "tokens": 6, "sequence_length": 4}
    checks = check_documents(path, tokenizer, [clean], manifest)
    assert {name for name, check in checks.items() if not check["passed"]} == failing
