"""Whatever a file holds, each of its rows ends in one place, and what is set aside is there byte for byte."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora.cleaning import clean as cleaning
from corpora.contamination.items import ITEMS, items_schema
from corpora.formats.formats import FORMATS
from corpora.tables.tables import writing
from tests.corpora.made import source, talk

_ITEM = "which of the seven grey herons that nest above the old stone weir returns first to the river in spring"

MAKERS: dict[str, Callable[[str, str], dict[str, Any]]] = {
    "alpaca": lambda asked, answered: {"instruction": asked, "input": "", "output": answered},
    "sharegpt": lambda asked, answered: {
        "conversations": [{"from": "human", "value": asked}, {"from": "gpt", "value": answered}]
    },
    "chatml": talk,
    "glaive": lambda asked, answered: {"chat": f"USER: {asked}\n\n\nASSISTANT: {answered} <|endoftext|>"},
    "hermes": lambda asked, answered: {
        "conversations": [
            {"from": "human", "value": asked},
            {"from": "gpt", "value": f'{answered} <tool_call>{{"name": "f"}}</tool_call>'},
        ]
    },
    "xlam": lambda asked, answered: {"query": asked, "tools": "[]", "answers": [{"name": answered, "arguments": {}}]},
    "toolace": lambda asked, answered: {
        "system": '[{"name": "f"}]',
        "conversations": [
            {"from": "human", "value": asked},
            {"from": "gpt", "value": f"[f(a={answered!r})]"},
        ],
    },
    "threads": lambda asked, answered: {"prompt": {"text": asked, "replies": [{"text": answered, "replies": []}]}},
    "openai_preference": lambda asked, answered: {
        "input": {"messages": [{"role": "user", "content": asked}]},
        "preferred_output": [{"role": "assistant", "content": answered}],
        "non_preferred_output": [{"role": "assistant", "content": f"not {answered}"}],
    },
    "preference": lambda asked, answered: {"prompt": asked, "chosen": answered, "rejected": f"not {answered}"},
    "prompt_completion": lambda asked, answered: {"prompt": asked, "completion": answered},
    "text": lambda asked, answered: {"text": f"{asked} {answered}"},
    "unpaired": lambda asked, answered: {"prompt": asked, "completion": answered, "label": True},
    "ranked": lambda asked, answered: {"prompt": asked, "answers": [answered, f"not {answered}"]},
    "rated": lambda asked, answered: {"prompt": asked, "response": answered, "rating": 4},
    "votes": lambda asked, answered: {
        "prompt": asked,
        "response_a": answered,
        "response_b": f"not {answered}",
        "winner": "a",
    },
}
"""A row of each format."""

BROKEN = (
    b"{",
    b"{]}",
    b'{"cut": "off',
    b'{"a": NaN}',
    b'{"a": 1e999}',
    b'{"a": 1, "a": 2}',
    b'{"a": "\xff\xfe"}',
    b'{"a": "\\ud800"}',
    b"[1, 2]",
    b"7",
    b"null",
    b"{}",
    b"\x00\x01",
    b"{'single': 1}",
    b'{"a": "tab\there"}',
    b'{"n": ' + b"9" * 5000 + b"}",
    b'{"instruction": "", "output": ""}',
    b'{"instruction": 1, "output": []}',
    b'{"messages": []}',
    b'{"messages": [{"role": "assistant", "content": "first"}, {"role": "user", "content": "q"}]}',
    b'{"messages": [{"role": "user", "content": "q"}, {"role": "user", "content": "q"}]}',
    b'{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": ""}]}',
    b'{"messages": [{"role": "oracle", "content": "q"}, {"role": "assistant", "content": "a"}]}',
    b'{"conversations": [{"from": "human", "value": "q"}]}',
    b'{"conversations": {"from": "human"}}',
    b'{"prompt": "q", "chosen": "same", "rejected": "same"}',
    b'{"prompt": "q"}',
    b'{"text": "   "}',
    b'{"question": null, "answer": "a"}',
    b'{"prompt": {"text": "q", "replies": []}}',
    b'{"prompt": {"text": "q", "replies": [{"text": 1}]}}',
    b'{"chat": "USER: q"}',
    b'{"chat": "USER: q\\nASSISTANT: <functioncall> {"}',
    b'{"conversations": [{"from": "human", "value": "q"}, {"from": "tool", "value": "<tool_response>1"}]}',
    b'{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": [{"type": "audio"}]}]}',
)
"""No format takes any of these."""

Fate = tuple[str, int]
_FATES = st.one_of(
    st.tuples(st.just("good"), st.just(0)),
    st.tuples(st.just("repeat"), st.integers(0, 50)),
    st.tuples(st.just("short"), st.just(0)),
    st.tuples(st.just("copy"), st.just(0)),
    st.tuples(st.just("broken"), st.integers(0, len(BROKEN) - 1)),
    st.tuples(st.just("blank"), st.just(0)),
)


@dataclass(frozen=True)
class Expected:
    lines: list[bytes]
    counts: dict[str, int]


VOTES = ("rated", "votes")
"""Formats whose rows are what somebody said, here of one or two answers: another may say the same."""


def expected(name: str, fates: list[Fate]) -> Expected:
    """Lines of a file, the first of them good, and what is to become of them."""
    make = MAKERS[name]
    lines: list[bytes] = []
    good: list[bytes] = []
    counts = dict.fromkeys(("read", "kept", "quarantined", "duplicate", "filtered", "contaminated"), 0)
    for number, (fate, choice) in enumerate([("good", 0), *fates]):
        fresh = {
            "good": make(f"where is the lantern number {number}?", f"it hangs beside door {number}"),
            "short": make(f"no {number}", "no"),
            "copy": make(f"{_ITEM} {number}", f"the one called {number}, as everyone says"),
        }
        if fate == "broken":
            lines.append(BROKEN[choice])
        elif fate == "blank":
            lines.append(b"  ")
            continue
        else:
            lines.append(good[choice % len(good)] if fate == "repeat" else json.dumps(fresh[fate]).encode())
        if fate == "good":
            good.append(lines[-1])
        counts["read"] += 1
        into = {
            "good": "kept",
            "repeat": "kept" if name in VOTES else "duplicate",
            "short": "filtered",
            "copy": "contaminated",
        }
        counts[into.get(fate, "quarantined")] += 1
    return Expected(lines, counts)


def cleaned(name: str, file: str, content: bytes) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Metrics and quarantine of a file that is cut into small blocks."""
    with TemporaryDirectory() as temporary, patch.object(cleaning, "_BLOCK_BYTES", 300):
        folder = Path(temporary)
        (folder / file).write_bytes(content)
        with writing(folder / ITEMS, items_schema()) as items:
            item = {"task": "birds", "item": 0, "field": "question", "text": _ITEM}
            items.add({**item, "generated": False, "sensitive": False})
        (folder / "work").mkdir()
        steps = [{"kind": "length", "unit": "words", "min": 6}]
        known = source(file, steps=steps, max_quarantined=1.0).model_copy(update={"format": name})
        metrics = cleaning.clean("demo", known, folder, folder / "cache", folder / "work", items=folder / ITEMS)
        kept = pq.read_table(folder / "work" / "rows.parquet").num_rows
        filtered = pq.read_table(folder / "work" / "filtered.parquet").num_rows
        evidence = pq.read_table(folder / "work" / "evidence.parquet").num_rows
        assert (kept, filtered, evidence) == (metrics["kept"], metrics["filtered"], metrics["contaminated"])
        return metrics, pq.read_table(folder / "work" / "quarantine.parquet").to_pylist()


def conserved(metrics: dict[str, Any]) -> bool:
    parts = ("kept", "quarantined", "duplicate", "filtered", "contaminated")
    return bool(metrics["read"] == sum(metrics[part] for part in parts))


def test_every_format_is_made_here() -> None:
    assert set(MAKERS) == set(FORMATS)


@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    fates=st.lists(_FATES, max_size=30),
    end=st.sampled_from([b"\n", b"\r\n"]),
    mark=st.booleans(),
    cut_off=st.booleans(),
)
def test_lines_are_conserved(name: str, fates: list[Fate], end: bytes, mark: bool, cut_off: bool) -> None:
    known = expected(name, fates)
    content = (b"\xef\xbb\xbf" if mark else b"") + b"".join(line + end for line in known.lines)
    if cut_off:
        content += b'{"messages": [{"role": "us'
        known.counts["read"] += 1
        known.counts["quarantined"] += 1
    metrics, quarantine = cleaned(name, "a.jsonl", content)
    assert {count: metrics[count] for count in known.counts} == known.counts
    assert conserved(metrics) and metrics["checks"]["rows_conserved"]["passed"]
    broken = [line for line, fate in zip(known.lines, [("good", 0), *fates], strict=True) if fate[0] == "broken"]
    assert [row["raw"] for row in quarantine][: len(broken)] == broken
    assert len(quarantine) == len(broken) + cut_off
    for row in quarantine:
        assert content[row["byte_offset"] :].startswith(row["raw"])
        assert content[: row["byte_offset"]].count(b"\n") + 1 == row["line"]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    name=st.sampled_from(sorted(MAKERS)),
    fates=st.lists(_FATES.filter(lambda fate: fate[0] != "blank"), max_size=30),
    separator=st.sampled_from([b",", b",\n", b",\n  "]),
    ended=st.booleans(),
)
def test_the_elements_of_a_list_are_conserved(name: str, fates: list[Fate], separator: bytes, ended: bool) -> None:
    known = expected(name, fates)
    content = b"[" + separator[1:] + separator.join(known.lines) + (b"\n]\n" if ended else b"")
    metrics, quarantine = cleaned(name, "a.json", content)
    assert conserved(metrics) and metrics["checks"]["rows_conserved"]["passed"]
    assert metrics["kept"] >= 1
    for row in quarantine:
        assert content[row["byte_offset"] :].startswith(row["raw"])
