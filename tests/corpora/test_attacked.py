"""Rows that say something in an unusual place or twice: it is read, or refused by name, and never half."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from corpora.cleaning.clean import clean
from corpora.feedback.checks import cohens_d
from corpora.formats.formats import choose_format, reader
from corpora.formats.items import Conversation, Document
from corpora.reading.lines import Row, RowError, read_rows
from corpora.reading.row import NotToBeLearned
from corpora.sources.raw import RawFile
from lineage.errors import CorpusError
from tests.corpora.made import source, talk
from tests.corpora.test_learning import read

U = {"role": "user", "content": "q"}


def answer(words: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": words, **more}


def many(rows: list[Any], **settings: Any) -> list[Any]:
    """What each row gives where the first ones tell the format: items, or the reason as text."""
    of = source("a.jsonl", **settings)
    made = [Row("a.jsonl", number, 0, row, b"") for number, row in enumerate(rows, 1)]
    read_one = reader(of, choose_format(of, None, made[:200])[0])
    found: list[Any] = []
    for row in made:
        try:
            found += read_one(row)
        except RowError as error:
            found.append(str(error))
    return found


def listed(count: int, bad: int, opened: str, between: str) -> str:
    rows = [json.dumps({"prompt": f"question {n:04}", "completion": f"answer {n}"}) for n in range(count)]
    rows[bad] = '{"prompt": "oops, "completion": "x"}'
    return opened + between.join(rows) + "]\n"


def cleaned(folder: Path, name: str, content: str | bytes, **settings: Any) -> dict[str, Any]:
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    of = source(name, **settings)
    (folder / "work").mkdir(exist_ok=True)
    return clean("demo", of, folder, folder / "cache", folder / "work")


@pytest.mark.parametrize(
    ("opened", "between"), [("[", ",\n"), ("[\n", ",\n"), ("[\n", "\n,"), ("[ ", ",\n  "), ("[\n  ", ",\n  ")]
)
def test_behind_a_broken_element_the_list_goes_on_with_the_next_line(tmp_path: Path, opened: str, between: str) -> None:
    metrics = cleaned(tmp_path, "a.json", listed(1001, 100, opened, between))
    assert (metrics["kept"], metrics["quarantined"]) == (1000, 1)


@pytest.mark.parametrize(
    ("content", "lost"),
    [
        (listed(400, 100, "[", ", "), 299),
        (listed(2, 0, "[", ",\n") and json.dumps([talk(f"q{n}", "a") for n in range(60)]), 0),
        (
            json.dumps([talk(f"question {n:04}", "a") for n in range(60)])
            + "\n"
            + "".join(json.dumps(talk(f"question {n:04}", "a")) + "\n" for n in range(3940)),
            3940,
        ),
    ],
)
def test_a_rest_that_cannot_be_split_counts_as_the_rows_it_holds(tmp_path: Path, content: str, lost: int) -> None:
    if not lost:
        assert cleaned(tmp_path, "a.json", content)["kept"] == 60
        return
    with pytest.raises(CorpusError, match=r"about [\d,]+ more in stretches of files that cannot be split") as caught:
        cleaned(tmp_path, "a.json", content)
    [told] = [int(word.replace(",", "")) for word in str(caught.value).split("about ")[1].split()[:1]]
    assert told == pytest.approx(lost, rel=0.1)


def test_lost_groups_of_parquet_and_cut_streams_count(tmp_path: Path) -> None:
    import gzip

    import pyarrow as pa
    import pyarrow.parquet as pq

    draw = random.Random(1)
    rows = [talk(f"q{n} {draw.random()}", f"a{draw.random()}") for n in range(4000)]
    table = pa.table({"messages": [row["messages"] for row in rows]})
    pq.write_table(table, tmp_path / "whole.parquet", row_group_size=500, compression="none")
    raw = bytearray((tmp_path / "whole.parquet").read_bytes())
    group = pq.ParquetFile(tmp_path / "whole.parquet").metadata.row_group(3).column(0)
    raw[group.data_page_offset : group.data_page_offset + 40] = b"\xff" * 40
    with pytest.raises(CorpusError, match=r"1 of 3501 rows and about 499 more .* \(12\.5%"):
        cleaned(tmp_path, "a.parquet", bytes(raw))
    packed = gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode())
    with pytest.raises(CorpusError, match="and nobody knows how many more"):
        cleaned(tmp_path, "a.jsonl.gz", packed[: len(packed) // 3])
    assert cleaned(tmp_path, "a.jsonl.gz", packed[: len(packed) // 3], max_quarantined=1.0)["kept"] > 100


def test_lines_that_are_each_a_list_are_lines(tmp_path: Path) -> None:
    lines = [json.dumps([{**U, "content": f"q{n}"}, answer(f"a{n}")]) for n in range(3)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines) + "\n")
    found = list(read_rows(RawFile("a.jsonl", tmp_path / "a.jsonl")))
    assert len(found) == 3 and {row.line for row in found} == {1, 2, 3}
    for whole in ("[1]\n", f"[{json.dumps(talk('q', 'a'))},\n{json.dumps(talk('r', 'a'))}]\n"):
        (tmp_path / "b.json").write_text(whole)
        assert len(list(read_rows(RawFile("b.json", tmp_path / "b.json")))) == whole.count('{"messages') or 1


def test_a_message_in_a_row_of_its_own_is_no_document() -> None:
    for turn in (U, {"from": "human", "value": "q", "text": "q"}, {"session": 1, **U}):
        with pytest.raises(CorpusError, match="fit no known format"):
            many([turn] * 3)
    [found] = many([{"content": "A page.", "role": "landing page"}])
    assert isinstance(found, Document), "a word of its own"


def test_joining_turns_makes_no_words_of_a_call() -> None:
    turns = [
        {"from": "human", "value": "q"},
        {"from": "gpt", "value": "let me look"},
        {"from": "function_call", "value": '{"name": "f", "arguments": {"x": 1}}'},
    ]
    row = {"conversations": turns, "tools": '[{"name": "f", "parameters": {}}]'}
    [plain] = many([row])
    [joined] = many([row], turns={"same_role": "join"})
    assert "roles out of order" in plain and "turns: {same_role" not in plain and "roles out of order" in joined


def test_what_stands_beside_messages_inside_an_object_is_heard() -> None:
    inside = {"messages": [U, answer("a")], "tools": [{"name": "f"}], "system": "Only French."}
    columns = {"messages": "body.messages"}
    [found] = many([{"id": "r0", "body": inside}], columns=columns)
    assert isinstance(found, Conversation) and found.tools and found.messages[0]["content"] == "Only French."
    for mark in ({"weight": 0}, {"label": False}):
        [reason] = many([{"body": {**inside, **mark}}], columns=columns)
        assert f"'{next(iter(mark))}' inside field 'body' is not heard there" in reason


def test_no_word_of_a_sensitive_row_is_in_a_reason(tmp_path: Path) -> None:
    rows = [talk(f"q{n}", "a") for n in range(60)]
    rows.append({"messages": [{"role": "Mustermann", "content": "x"}, answer("y")]})
    rows.append({"messages": [U, answer([{"type": "SSN123456", "text": "z"}])]})  # type: ignore[arg-type]
    content = "".join(json.dumps(row) + "\n" for row in rows)
    metrics = cleaned(tmp_path, "a.jsonl", content, sensitive=True)
    assert len(metrics["quarantine_reasons"]) == 2
    assert not any(word in json.dumps(metrics) for word in ("Mustermann", "SSN"))
    with pytest.raises(CorpusError, match="unknown role") as caught:
        cleaned(tmp_path, "b.jsonl", content, sensitive=True, max_quarantined=0)
    assert "Mustermann" not in str(caught.value)
    with pytest.raises(CorpusError, match="unknown role: 'Mustermann' of turn 1"):
        cleaned(tmp_path, "c.jsonl", content, max_quarantined=0)


def test_signs_of_a_format_behind_the_first_rows_are_no_words() -> None:
    plain = [talk(f"q{n}", "a") for n in range(210)]
    tools = '<tools>[{"name": "f", "parameters": {}}]</tools>'
    called = '<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>'
    hermes = {"messages": [{"role": "system", "content": tools}, U, answer(called)]}
    *_, reason = many([*plain, hermes])
    assert "of format hermes among chatml rows" in reason and "format: hermes" in reason


def test_dialogues_without_the_empty_line_before_them() -> None:
    asked = "Human: hi\n\nAssistant:"
    row = {"chosen": f"{asked} Hello!", "rejected": f"{asked} Go."}
    for given in (row, {"prompt": asked, **row}):
        [found] = read(given)
        assert [turn["content"] for turn in (*found.prompt, *found.chosen)] == ["hi", "Hello!"]


def test_verdicts_say_one_thing_and_of_their_own_rows() -> None:
    sides = {"prompt": "p", "response_a": "x", "response_b": "y"}
    for verdicts in ({"winner": "A", "preference": "B"}, {"winner": "A", "votes_a": 0, "votes_b": 5}):
        with pytest.raises(RowError, match="hold different answers better"):
            read({**sides, **verdicts})
    [found] = read({**sides, "winner": "A", "preference": "model_a", "votes_a": 3, "votes_b": 1})
    assert found.answers[0]["messages"][0]["content"] == "x"
    with pytest.raises(CorpusError, match="fit no known format"):
        many([{"prompt": "p", "response_0": "zero", "response_1": "one", "labels": 1}])
    [shp] = read({"history": "p", "human_ref_A": "x", "human_ref_B": "y", "labels": 1})
    assert shp.answers[0]["messages"][0]["content"] == "x"


def test_scores_of_different_fields_do_not_compare_and_a_place_of_0_is_one() -> None:
    with pytest.raises(RowError, match="scored in different fields"):
        read({"prompt": "q", "answers": [{"text": "a", "stars": 4}, {"text": "b", "score": 60}]})
    both = [{"text": "a", "overall_score": None, "score": 4.5}, {"text": "b", "overall_score": 9, "score": 1}]
    [found] = read({"prompt": "q", "answers": both})
    assert [one["score"] for one in found.answers] == [4.5, 1]
    for place in (0, 1):
        with pytest.raises(RowError, match="field 'best' says which answer is better"):
            read({"prompt": "q", "responses": ["a", "b", "c"], "best": place})


def test_thoughts_beside_an_answer_in_a_list_are_its_own() -> None:
    [found] = read({"prompt": "p", "completion": [answer("z")], "reasoning": "beside"})
    assert found.messages[-1]["content"].startswith("<think>\nbeside\n</think>")
    for odd in (["a", "b"], {"steps": ["a"]}):
        with pytest.raises(RowError, match="not text: the thoughts"):
            read({"prompt": "p", "completion": "z", "reasoning": odd})
    with pytest.raises(RowError, match="thoughts beside several turns"):
        read({"prompt": "p", "completion": [answer("z"), U, answer("y")], "reasoning": "beside"})


@pytest.mark.parametrize("mark", ["loss", "train", "masked", "weight", "loss_scale"])
def test_a_mark_for_every_turn_is_refused(mark: str) -> None:
    with pytest.raises(RowError, match=f"'{mark}' marks parts of a row"):
        read({**talk("q", "a"), mark: [False, True]})


def test_a_weight_above_one_of_a_row_is_heard_where_the_recipe_says_so() -> None:
    rows = [{**talk("q", "a"), "weight": weight} for weight in (0.5, 2, 72)]
    half, unclear, kilograms = many(rows)
    assert half.messages[-1]["weight"] == "+0.5" and "weight" not in kilograms.messages[-1]
    assert "columns: {loss_weight: weight}" in unclear and "{category: weight}" in unclear
    half, double, much = many(rows, columns={"loss_weight": "weight"})
    assert [one.messages[-1]["weight"] for one in (half, double)] == ["+0.5", "+2"]
    assert "field 'loss_weight' is no weight from 0 to 10" in much
    assert [one.messages[-1].get("weight") for one in many(rows, columns={"category": "weight"})] == [None] * 3


def test_switches_are_heard_and_weights_with_a_comma_are_refused() -> None:
    for marks in ({"train": "off"}, {"masked": "on"}, {"training": "OFF"}):
        with pytest.raises(NotToBeLearned, match="says that the row is not to be learned"):
            read({**talk("q", "a"), **marks})
        with pytest.raises(NotToBeLearned, match="no turn of the assistant"):
            read({"messages": [U, answer("a", **marks)]})
    assert read({**talk("q", "a"), "train": "on"}) == read({**talk("q", "a"), "masked": "off"}) == read(talk("q", "a"))
    for name in ("weight", "loss_weight"):
        with pytest.raises(RowError, match=f"'{name}' is no weight from 0 to 10"):
            read({**talk("q", "a"), name: "0,5"})
    assert read({**talk("q", "a"), "weight": "72 kg"}) == read(talk("q", "a"))


def test_rows_that_are_not_to_be_learned_are_no_damage(tmp_path: Path) -> None:
    rows = [{**talk(f"q{n}", "a"), "weight": n % 2} for n in range(40)]
    rows += [{"messages": [{**U, "content": f"r{n}"}, answer("a", train=False)]} for n in range(10)]
    metrics = cleaned(tmp_path, "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert (metrics["kept"], metrics["quarantined"]) == (20, 30)
    assert metrics["checks"]["quarantine_share"]["value"] == 0 and metrics["checks"]["rows_conserved"]["passed"]


def test_arguments_are_objects_and_said_once() -> None:
    def calls(**call: Any) -> Any:
        turns = [U, answer("", tool_calls=[{"name": "f", **call}])]
        [found] = read({"messages": turns, "tools": [{"name": "f"}]})
        return json.loads(found.messages[-1]["tool_calls"])[0]["arguments"]

    for nothing in ({}, {"arguments": None}, {"arguments": ""}, {"arguments": "[]"}, {"arguments": []}):
        assert calls(**nothing) == {}
    for odd in ("0", 0, False, [1], "[1]", "true"):
        with pytest.raises(RowError, match="arguments are not an object"):
            calls(arguments=odd)
    assert calls(arguments={}, parameters={"a": 1}) == {"a": 1}
    with pytest.raises(RowError, match="arguments twice, which differ"):
        calls(arguments={"a": 2}, parameters={"a": 1})


def test_one_of_a_kind_has_no_spread() -> None:
    assert cohens_d([5, 6, 7], [5]) == cohens_d([5], [5, 6]) == cohens_d([], [1, 2]) == 0
