"""Conversation trees: threads of the best replies, rankings of all, and rows that are no whole tree."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora.cleaning import clean as cleaning
from corpora.cleaning.clean import clean
from corpora.formats.formats import FORMATS, Conversation, Ranking, choose_format
from corpora.reading.row import Row, RowError
from lineage.errors import CorpusError
from tests.corpora.made import source, write_jsonl


def node(text: str, *replies: dict[str, Any], role: str = "prompter", rank: int | None = None) -> dict[str, Any]:
    return {"message_id": text, "text": text, "role": role, "rank": rank, "deleted": False, "replies": list(replies)}


def answer(text: str, *replies: dict[str, Any], rank: int | None = None) -> dict[str, Any]:
    return node(text, *replies, role="assistant", rank=rank)


def tree(root: dict[str, Any]) -> dict[str, Any]:
    return {"message_tree_id": root["text"], "tree_state": "ready_for_export", "prompt": root}


DEEP = tree(
    node(
        "q",
        answer("second", node("thanks"), rank=1),
        answer(
            "first",
            node("unanswered", rank=0),
            node("more?", answer("worse", rank=2), answer("best", rank=0), answer("middle", rank=1), rank=1),
            rank=0,
        ),
        {**answer("rejected", rank=2), "review_result": False},
        {**answer("gone", rank=3), "deleted": True},
    )
)


def words(item: Any) -> list[str]:
    assert isinstance(item, Conversation)
    return [message["content"] for message in item.messages]


def rankings(row: dict[str, Any]) -> list[tuple[list[str], dict[str, float]]]:
    found = []
    for item in FORMATS["ranked"].read(row):
        assert isinstance(item, Ranking)
        answers = {ranked["messages"][0]["content"]: ranked["score"] for ranked in item.answers}
        found.append(([message["content"] for message in item.prompt], answers))
    return found


def test_a_thread_follows_the_best_reply_that_goes_on() -> None:
    [item] = FORMATS["threads"].read(DEEP)
    assert words(item) == ["q", "first", "more?", "best"]


def test_replies_without_a_rank_come_behind_the_others_and_in_order() -> None:
    [item] = FORMATS["threads"].read(tree(node("q", answer("a"), answer("b", rank=1))))
    assert words(item) == ["q", "b"]
    [item] = FORMATS["threads"].read(tree(node("q", answer("a"), answer("b"))))
    assert words(item) == ["q", "a"]


def test_every_message_with_ranked_answers_gives_a_ranking() -> None:
    assert rankings(DEEP) == [
        (["q"], {"first": 1, "second": 0}),
        (["q", "first", "more?"], {"best": 2, "middle": 1, "worse": 0}),
    ]


def test_a_tree_with_ranks_could_be_two_things_and_one_without_them_is_a_thread() -> None:
    with pytest.raises(CorpusError, match=r"fits two formats, threads .* and ranked .*Name `format`"):
        choose_format(source("a.jsonl"), None, [Row("a.jsonl", 1, 0, DEEP, b"")])
    plain = Row("a.jsonl", 1, 0, tree(node("q", answer("a"))), b"")
    format_, evidence = choose_format(source("a.jsonl"), None, [plain])
    assert (format_.name, evidence) == ("threads", "1 of the first 1 rows have prompt, a tree of replies")


@pytest.mark.parametrize("tree", [{"parent_id": "1"}, {"message_tree_id": "2"}])
def test_single_messages_of_trees_are_told_from_plain_text(tree: dict[str, str]) -> None:
    row = {"message_id": "2", "text": "words", "role": "assistant", **tree}
    with pytest.raises(CorpusError, match=r"single messages of conversation trees .*trees\.jsonl\.gz"):
        choose_format(source("a.jsonl"), None, [Row("a.jsonl", 1, 0, row, b"")])


@pytest.mark.parametrize(
    ("name", "row", "reason"),
    [
        ("threads", {"prompt": "q"}, "no tree"),
        ("threads", tree(node("q")), "no answer"),
        ("threads", tree({**node("q", answer("a")), "deleted": True}), "deleted or rejected"),
        ("threads", tree(node("q", node("r"))), "roles out of order: turn 2"),
        ("threads", tree(node("q", answer(" "))), "empty turn: turn 2"),
        ("threads", tree({**node("q"), "replies": ["a"]}), "replies that are no list of messages"),
        ("threads", tree({**node("q"), "replies": [{"role": "assistant", "replies": []}]}), "without text or role"),
        ("ranked", tree(node("q", answer("a", rank=0))), "no ranking"),
        ("ranked", tree(node("q", answer("a", rank=0), answer("", rank=1))), "empty turn"),
    ],
)
def test_a_tree_that_does_not_convert(name: str, row: dict[str, Any], reason: str) -> None:
    with pytest.raises(RowError, match=reason):
        FORMATS[name].read(row)


def test_a_tree_counts_as_the_rankings_that_it_holds(tmp_path: Path) -> None:
    flat = tree(node("p", answer("x", rank=0), answer("y", rank=1)))
    bad = tree(node("q", answer("a", rank=0)))
    write_jsonl(tmp_path / "a.jsonl", [DEEP, bad, DEEP, flat])
    for limit, counts in ((None, (6, 3, 1, 2, 0)), (1, (5, 1, 0, 0, 4)), (4, (6, 2, 1, 1, 2))):
        work = tmp_path / f"work{limit}"
        work.mkdir()
        known = source("a.jsonl", format="ranked", max_quarantined=1.0, limit=limit)
        metrics = clean("demo", known, tmp_path, tmp_path / "cache", work)
        names = ("read", "kept", "quarantined", "duplicate", "beyond_limit")
        assert tuple(metrics[name] for name in names) == counts, limit
        assert metrics["checks"]["rows_conserved"]["passed"]
        lines = pq.read_table(work / "rows.parquet")["origin"].to_pylist()
        assert [place["line"] for place in lines] == sorted(place["line"] for place in lines)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(rankings=st.lists(st.integers(0, 3), min_size=1, max_size=8), limit=st.none() | st.integers(1, 12))
def test_the_rankings_of_trees_are_conserved(rankings: list[int], limit: int | None) -> None:
    lines = [json.dumps(_with_rankings(f"{line}", count)).encode() for line, count in enumerate([2, *rankings])]
    with TemporaryDirectory() as temporary, patch.object(cleaning, "_BLOCK_BYTES", 300):
        folder = Path(temporary)
        (folder / "a.jsonl").write_bytes(b"\n".join(lines))
        (folder / "work").mkdir()
        known = source("a.jsonl", format="ranked", max_quarantined=1.0, limit=limit)
        metrics = clean("demo", known, folder, folder / "cache", folder / "work")
        quarantine = pq.read_table(folder / "work" / "quarantine.parquet").to_pylist()
    assert metrics["checks"]["rows_conserved"]["passed"]
    assert metrics["kept"] + metrics["quarantined"] == metrics["read"] - metrics["beyond_limit"]
    bad = [line for line, count in zip(lines, [2, *rankings], strict=True) if count == 0]
    if limit is None:
        assert metrics["kept"] == sum(rankings) + 2 and [row["raw"] for row in quarantine] == bad
    else:
        assert metrics["read"] - metrics["beyond_limit"] == min(limit, sum(max(1, n) for n in rankings) + 2)
        assert [row["raw"] for row in quarantine] == bad[: len(quarantine)]


def _with_rankings(name: str, count: int) -> dict[str, Any]:
    """A tree with this many messages whose answers are ranked, one below the other."""
    below: tuple[dict[str, Any], ...] = ()
    for level in range(count):
        best = answer(f"{name} best {level}", *below, rank=0)
        below = (node(f"{name} question {level}", best, answer(f"{name} other {level}", rank=1)),)
    return tree(below[0]) if below else tree(node(name, answer("alone")))
