"""Clean corpora: every row accounted for, repeats out, errors that say what and where."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from corpora.cleaning.clean import clean
from corpora.tables.tables import facts_of, rows_of
from lineage.errors import CorpusError
from models.messages import plain_messages
from tests.corpora.made import source, talk, write_jsonl


def run(tmp_path: Path, name: str = "work", **fields: Any) -> tuple[dict[str, Any], Path]:
    work = tmp_path / name
    work.mkdir()
    return clean("demo", source("a.jsonl", **fields), tmp_path, tmp_path / "cache", work), work


def test_rows_are_conserved_over_every_kind_of_damage(tmp_path: Path) -> None:
    good = [json.dumps(talk(f"question {i}", "answer")).encode() for i in range(20)]
    bad = [
        b"{",
        b'{"messages": NaN}',
        b'{"a": 1, "a": 2}',
        b"\xff\xfe",
        b'{"messages": "\\udc00"}',
        b"[]",
        b'{"messages": []}',
        json.dumps({"messages": talk("q", "a")["messages"][::-1]}).encode(),
        json.dumps(talk("q", "")).encode(),
    ]
    repeats = [json.dumps(talk("question  1", "answer ")).encode(), good[3]]
    lines = [*good[:10], *bad, *repeats, *good[10:]]
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + b"\r\n".join(lines) + b"\r\n" + b'{"messages": [')
    metrics, work = run(tmp_path, max_quarantined=0.5)
    assert {k: metrics[k] for k in ("read", "kept", "quarantined", "duplicate", "filtered")} == {
        "read": 32,
        "kept": 20,
        "quarantined": 10,
        "duplicate": 2,
        "filtered": 0,
    }
    assert metrics["checks"]["rows_conserved"]["passed"]
    assert sum(metrics["quarantine_reasons"].values()) == 10
    content = (tmp_path / "a.jsonl").read_bytes()
    for row in pq.read_table(work / "quarantine.parquet").to_pylist():
        assert content[row["byte_offset"] :].startswith(row["raw"])
        assert content[: row["byte_offset"]].count(b"\n") + 1 == row["line"]


def test_a_clean_row_knows_where_it_comes_from(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [talk("q", "a"), talk("p", "b")])
    metrics, work = run(tmp_path, sensitive=True, group="safety")
    row = pq.read_table(work / "rows.parquet").to_pylist()[1]
    assert row["origin"] == {"file": "a.jsonl", "line": 2}
    assert (row["source"], row["group"], row["category"]) == ("demo", "safety", None)
    assert plain_messages(row["messages"]) == talk("p", "b")["messages"]
    assert metrics["format"] == "chatml" and metrics["licence"] == "MIT"
    assert facts_of(work / "rows.parquet")["sensitive"] is True


def test_the_first_of_repeats_is_kept_over_white_space_and_composition(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [talk("café", "a"), talk("cafe\u0301", "a"), talk("café\n", " a")])
    metrics, work = run(tmp_path)
    assert metrics["duplicate"] == 2
    assert pq.read_table(work / "rows.parquet").to_pylist()[0]["origin"]["line"] == 1


def test_rows_after_the_limit_are_filtered(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [talk(f"q{i}", "a") for i in range(10)])
    metrics, _ = run(tmp_path, limit=4)
    assert (metrics["read"], metrics["kept"], metrics["filtered"]) == (10, 4, 6)


def test_too_many_bad_rows_stop_the_source_with_the_first_three(tmp_path: Path) -> None:
    lines = [json.dumps(talk(f"q{i}", "a")) if i % 2 else '{"broken' for i in range(100)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(CorpusError) as caught:
        run(tmp_path)
    message = str(caught.value)
    assert "source 'demo': 50 of 100 rows cannot be used (50.0%; max_quarantined is 5.0%)" in message
    assert [f"a.jsonl:{line}: not valid JSON" in message for line in (1, 3, 5, 7)] == [True, True, True, False]


def test_no_message_quotes_the_text_of_a_row(tmp_path: Path) -> None:
    secret = "unspeakable"
    turn = json.dumps({"messages": [{"role": f"a {secret} role", "content": secret}]})
    rows = [turn, f'{{"{secret}": 1, "{secret}": 2}}', secret]
    (tmp_path / "a.jsonl").write_text("\n".join(rows * 3) + "\n")
    with pytest.raises(CorpusError) as caught:
        run(tmp_path, sensitive=True, format="chatml")
    assert secret not in str(caught.value)


@pytest.mark.parametrize("content", ["", "\n\n  \n"])
def test_an_empty_source_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.jsonl").write_text(content)
    with pytest.raises(CorpusError, match=r"source 'demo' is empty: no rows in a\.jsonl"):
        run(tmp_path)


def test_two_runs_write_the_same_bytes(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [*(talk(f"q{i}", f"a {i}") for i in range(5000)), {"messages": 1}])
    folders = [run(tmp_path, name)[1] for name in ("one", "two")]
    for file in ("rows.parquet", "quarantine.parquet"):
        assert (folders[0] / file).read_bytes() == (folders[1] / file).read_bytes()


def test_gym_problems_become_conversations(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    metrics = clean("sums", source("gym://chain_sum?size=20&seed=1"), tmp_path, tmp_path / "cache", work)
    assert metrics["kept"] == 20
    row = pq.read_table(work / "rows.parquet").to_pylist()[0]
    assert [message["role"] for message in row["messages"]] == ["user", "assistant"]


def test_plain_text_becomes_documents(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": " words "}\n')
    metrics, work = run(tmp_path)
    assert metrics["kind"] == "document"
    assert pq.read_table(work / "rows.parquet").column("text").to_pylist() == ["words"]


def test_rows_that_name_a_task_which_runs_them_go_to_quarantine_and_run_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    asked = {"question": "What is 3+4?", "answer": f"open({str(mark)!r}, 'w') * 0 + 7"}
    problem = {**asked, "arguments": {}, "entry": {**asked, "metadata": {}}}
    good = {"question": "What is 3+4?", "answer": "7", "arguments": {}, "task": "chain_sum", "entry": {"answer": "7"}}
    named = ["polynomial_multiplication", "composite", "not_yet_tried"]
    write_jsonl(tmp_path / "rows.jsonl", [*({**problem, "task": task} for task in named), good])
    work = tmp_path / "work"
    work.mkdir()
    metrics = clean("rows", source("rows.jsonl", max_quarantined=0.9), tmp_path, tmp_path / "cache", work)
    reasons = [row["reason"] for row in rows_of(work / "quarantine.parquet")]
    assert "task 'polynomial_multiplication' is refused" in reasons[0] and "'composite' is refused" in reasons[1]
    assert "tried and allowed" in reasons[2] and "not_yet_tried" not in reasons[2]
    assert metrics["kept"] == 1 and metrics["quarantined"] == 3
    assert not mark.exists()
