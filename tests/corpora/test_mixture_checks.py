"""The checks of a mixture fail when the file that they read is wrong."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpora.mixing.mixture_checks import check_mixture
from corpora.rendering import ChatTemplate
from corpora.tables import mixture_schema
from tests.corpora.made import talk


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
    manifest = {"rows": 1, "planned": {"g": 0.5}, "realised": {"g": {"share": share}}, "tolerance": 0.01}
    return {name: check["passed"] for name, check in check_mixture(path, template, manifest).items()}


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
