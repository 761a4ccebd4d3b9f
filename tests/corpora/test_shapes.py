"""Rows in shapes that other tools write are read for what they say, or refused by what is odd in them and a way on."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpora.formats.formats import choose_format, reader
from corpora.formats.judgements import points_of
from corpora.reading.lines import BadRow, Row, read_rows
from corpora.reading.row import RowError
from corpora.sources.raw import RawFile
from lineage.errors import CorpusError
from tests.corpora.made import source, write_jsonl

U, A = ({"role": role, "content": words} for role, words in (("user", "q"), ("assistant", "a")))
SAID = [("user", "q"), ("assistant", "a")]
COLUMNS = {"prompt": "q", "completion": "a"}


def read(value: dict[str, Any], *others: dict[str, Any], **fields: Any) -> Any:
    own = source("a.jsonl", **fields)
    rows = [Row("a.jsonl", place, 0, one, b"") for place, one in enumerate((value, *others), start=1)]
    [item] = reader(own, choose_format(own, None, rows)[0])(rows[0])
    return item


def said(item: Any) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in item.messages]


def rows_in(path: Path) -> list[Row | BadRow]:
    return list(read_rows(RawFile(path.name, path)))


def items_in(path: Path, **fields: Any) -> list[Any]:
    rows, own = rows_in(path), source(path.name, **fields)
    good = [row for row in rows if isinstance(row, Row)]
    assert len(good) == len(rows)
    read_row = reader(own, choose_format(own, None, good)[0])
    return [item for row in good for item in read_row(row)]


def written(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


# shapes of turns


@pytest.mark.parametrize("name", ["conversations", "messages", "dialog"])
def test_turns_as_lists_by_key_are_turns(tmp_path: Path, name: str) -> None:
    for turns in ({"from": ["human", "gpt"], "value": ["q", "a"]}, {"human": ["q"], "gpt": ["a"]}):
        for value in (turns, json.dumps(turns), {"messages": turns}):
            assert said(read({name: value})) == SAID
    own = {"who": ["customer", "agent"], "what": ["q", "a"]}
    roles = {"customer": "user", "agent": "assistant"}
    assert said(read({name: own}, turns={"role": "who", "content": "what", "roles": roles})) == SAID
    marked = {"role": ["user", "assistant"] * 2, "content": ["q", "a", "q2", "a2"], "loss": [None, False, None, None]}
    pq.write_table(pa.Table.from_pylist([{name: marked}]), tmp_path / "a.parquet")
    [item] = items_in(tmp_path / "a.parquet")
    assert [message.get("weight") for message in item.messages] == [None, "0", None, None]
    with pytest.raises(CorpusError, match="fit no known format"):
        read({name: {"from": ["human", "gpt"], "value": ["q"]}})


def test_answers_as_lists_by_key_are_turns() -> None:
    pair = {n: {"role": ["user", "assistant"], "content": ["q", n]} for n in ("chosen", "rejected")}
    assert read(pair).prompt == [U] and read(pair).chosen == [{"role": "assistant", "content": "chosen"}]
    apart = {"prompt": {"role": ["user"], "content": ["q"]}, "completion": {"role": ["assistant"], "content": ["a"]}}
    assert said(read(apart)) == SAID


def test_a_list_of_turns_without_a_name_is_a_row(tmp_path: Path) -> None:
    talks = [[U, {**A, "content": f"a{n}"}] for n in range(3)]
    whole = written(tmp_path / "a.json", json.dumps(talks))
    spread = written(tmp_path / "b.json", json.dumps(talks, indent=1))
    a_line = write_jsonl(tmp_path / "c.jsonl", talks)
    for path in (whole, spread, a_line, written(tmp_path / "d.jsonl", a_line.read_text().rstrip())):
        assert [said(item)[1][1] for item in items_in(path)] == ["a0", "a1", "a2"]
    for rows in ([["q", "a"], ["q", "a"]], [[], []]):
        bad = rows_in(written(tmp_path / "e.json", json.dumps(rows)))
        assert {one.reason for one in bad if isinstance(one, BadRow)} == {
            'not a JSON object but a list (write a list of turns as {"messages": […]})'
        }


def test_a_turn_a_row_is_no_document() -> None:
    for turn in (U, {"from": "human", "value": "q", "text": "q"}, {"speaker": "User", "text": "q"}):
        with pytest.raises(
            CorpusError, match=r'as one row, \{"messages": \[…\]\}; if they are documents, format: text'
        ):
            read(turn)
    assert read(U, format="text").text == "q" and read({"role": "author", "text": "t"}).text == "t"


@pytest.mark.parametrize(("asked", "answering"), [(0, 1), (False, True), (0.0, 1.0), ("customer ", " Agent")])
def test_roles_may_be_numbers_or_truths_and_have_blanks_around_them(asked: Any, answering: Any) -> None:
    turns = [{"who": asked, "what": "q"}, {"who": answering, "what": "a"}]
    roles = {"0": "user", 1: "assistant", False: "user", "true": "assistant", "Customer": "user", "agent ": "assistant"}
    spelt = {"role": "who", "content": "what"}
    assert said(read({"dialog": turns}, turns={**spelt, "roles": roles})) == SAID
    with pytest.raises(RowError, match="unknown role: '7' of turn 1"):
        read({"dialog": [{"who": 7, "what": "q"}, *turns]}, turns={**spelt, "roles": roles})
    with pytest.raises(RowError, match="unknown role: 'clerk' of turn 1"):
        read({"messages": [{"role": " clerk ", "content": "q"}, A]})
    assert said(read({"messages": [{"role": "User ", "content": "q"}, A]})) == SAID


def test_a_pair_may_hold_more_than_a_question_and_its_answer() -> None:
    pair = {"id": 1, "human": "q", "assistant": "a"}
    assert said(read({"conversations": [pair, pair]})) == SAID * 2
    assert said(read({"conversations": [{"system": "s"}, pair]})) == [("system", "s"), *SAID]
    item = read({"conversations": [{**pair, "loss": False}, {**pair, "reasoning": "hm", "model": "gpt-4"}]})
    assert item.messages[1]["weight"] == "0" and item.messages[3]["content"] == "<think>\nhm\n</think>\n\na"
    for one in ({"user": "bob", "text": "hi"}, {**pair, "text": "x"}, {"human": "q", "id": 1}):
        with pytest.raises(CorpusError, match="fit no known format"):
            read({"conversations": [one, one]})


@pytest.mark.parametrize("asked", ["q", U, [U]])
def test_a_prompt_or_its_completion_may_be_one_turn(asked: Any) -> None:
    for answer in ("a", A, [A]):
        assert said(read({"prompt": asked, "completion": answer})) == SAID
        assert said(read({"q": asked, "a": answer}, columns=COLUMNS)) == SAID
        judged = read({"prompt": asked, "completion": answer, "label": True})
        assert judged.prompt == [U] and judged.completion == [A]
        assert read({"prompt": asked, "response": answer, "stars": 4}).answers[0]["messages"] == [A]
    thought = read({"prompt": asked, "completion": A, "reasoning": "hm"})
    assert thought.messages[1]["content"] == "<think>\nhm\n</think>\n\na"
    with pytest.raises(RowError, match="thoughts beside several turns: in field 'completion'"):
        read({"prompt": asked, "completion": [A, U, A], "reasoning": "hm"})
    with pytest.raises(RowError, match="turn 2 is of the user, not of the assistant"):
        read({"prompt": asked, "completion": U}, format="prompt_completion")


@pytest.mark.parametrize(
    "history",
    [[["u", "b"]], '[["u", "b"]]', "[['u', 'b']]", [{"role": "user", "content": "u"}, {"from": "gpt", "value": "b"}]],
)
def test_a_history_may_be_text_or_turns(history: Any) -> None:
    earlier = [("user", "u"), ("assistant", "b")]
    assert said(read({"instruction": "q", "output": "a", "history": history})) == [*earlier, *SAID]
    assert said(read({"prompt": "q", "completion": "a", "history": history, "system": "s"}))[1:] == [*earlier, *SAID]
    for none in ("[]", "", " ", "null", None, []):
        assert said(read({"instruction": "q", "output": "a", "history": none})) == SAID
    for odd in ("earlier", '["u"]', "7", [["u"]]):
        with pytest.raises(RowError, match="field 'history'"):
            read({"instruction": "q", "output": "a", "history": odd})


# columns


@pytest.mark.parametrize("setting", ["system", "input", "reasoning", "tools"])
def test_a_column_that_some_rows_lack_is_read_where_it_is(setting: str) -> None:
    row = {"q": "q", "a": "a"}
    more = {**row, "more": json.dumps([{"name": "f"}]) if setting == "tools" else "m"}
    columns = {**COLUMNS, setting: "more"}
    assert said(read(row, more, columns=columns)) == SAID == said(read({**row, "more": None}, columns=columns))
    assert vars(read(more, row, columns=columns)) != vars(read(more, columns=COLUMNS))
    with pytest.raises(CorpusError, match=rf"columns.{setting} names the field 'mroe', which none of its first rows"):
        read(more, columns={**COLUMNS, setting: "mroe"})
    assert said(read({**row, "meta": None}, columns={**COLUMNS, setting: "meta.more"})) == SAID
    with pytest.raises(RowError, match="no field 'a'"):
        read({"q": "q"}, more, columns=columns)


# calls and functions


@pytest.mark.parametrize("none", ["[]", "null", "None", " ", "{}", "[null]", [None], {"name": None, "arguments": None}])
def test_no_calls_and_no_functions_may_be_said_in_any_writing(none: Any) -> None:
    turn = {**A, "tool_calls": none, "function_call": none}
    row = {"messages": [{**U, "tool_calls": none}, turn], "tools": none, "functions": none}
    assert said(read(row)) == SAID and read(row).tools is None
    joined = read({"messages": [U, turn, turn]}, turns={"same_role": "join"})
    assert said(joined) == [("user", "q"), ("assistant", "a\n\na")]
    with pytest.raises(RowError, match="empty turn: turn 2"):
        read({"messages": [U, {**turn, "content": ""}]})
    with pytest.raises(RowError, match=r"field 'answers' has no call, .* write such rows as `messages`"):
        read({"query": "q", "tools": "[]", "answers": none if isinstance(none, str | list) else "[]"})
    called = {"role": "assistant", "tool_calls": [{"name": "none"}]}
    assert json.loads(read({"messages": [U, called]}).messages[1]["tool_calls"])[0]["name"] == "none"


def test_functions_and_calls_as_python_writes_them_are_read() -> None:
    functions = [{"name": "f", "parameters": {"type": "object", "properties": {"a": {"default": None}}}}]
    calls = [{"name": "f", "arguments": {"a": True}}]
    for write in (str, json.dumps):
        item = read({"messages": [U, {"role": "assistant", "tool_calls": write(calls)}], "tools": write(functions)})
        assert json.loads(item.tools) == functions and json.loads(item.messages[1]["tool_calls"]) == calls
    with pytest.raises(RowError, match="not JSON: field 'tools'"):
        read({"messages": [U, A], "tools": "[{'name': __import__('os')}]"})


@pytest.mark.parametrize("name", ["input_schema", "inputSchema"])
def test_a_schema_in_other_words_is_the_parameters_of_a_function(name: str) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    for tool in ({"name": "f", name: schema}, {"type": "function", "function": {"name": "f", name: schema}}):
        assert json.loads(read({"messages": [U, A], "tools": [tool]}).tools) == [{"name": "f", "parameters": schema}]
    both = {"name": "f", name: schema, "parameters": {}}
    assert json.loads(read({"messages": [U, A], "tools": [both]}).tools) == [both]


# judgements


def test_an_empty_cell_judges_nothing(tmp_path: Path) -> None:
    table = "prompt,response_a,response_b,votes_a,votes_b,winner\np1,x,y,,,A\np2,x,y,1,,\np3,x,y,, ,b\n"
    items = items_in(written(tmp_path / "a.csv", table))
    best = [item.answers[0]["messages"][0]["content"] for item in items]
    assert best == ["x", "x", "y"] and [item.answers[0]["score"] for item in items] == [1, 1, 1]
    row = {"prompt": "q", "completion": "a", "chosen": "", "rejected": " "}
    assert said(read(row)) == SAID and read({**row, "label": "1"}).label
    ranked = read({"prompt": "q", "responses": ["x", "y"], "ranks": "", "scores": [1, 2]})
    assert ranked.answers[0]["messages"][0]["content"] == "y"


@pytest.mark.parametrize("write", [str, json.dumps])
@pytest.mark.parametrize(("name", "best"), [("scores", "y"), ("ranks", "x"), ("ratings", "y")])
def test_ranked_answers_may_be_text_in_a_table(write: Any, name: str, best: str) -> None:
    row = {"prompt": "q", "responses": write(["x", "y"]), name: write([1, 2])}
    assert read(row).answers[0]["messages"][0]["content"] == best
    with pytest.raises(CorpusError, match=r"Name `format`"):
        read({"prompt": "q", "responses": "[x, y]", "scores": "[1, 2]"})


@pytest.mark.parametrize(
    ("value", "points"),
    [
        ("4,5", 4.5),
        ("0,125", 0.125),
        ("★★★★", 4),
        ("★★★☆☆", 3),
        ("⭐️⭐️", 2),
        ("1,234", None),
        ("4/5", None),
        ("☆☆", None),
    ],
)
def test_points_are_read_where_they_can_mean_but_one_thing(value: str, points: float | None) -> None:
    row = {"prompt": "q", "response": "a", "stars": value}
    assert points_of(value) == points
    if points is None:
        with pytest.raises(CorpusError, match="points are numbers, as 4 or 4,5 or ★★★★; of 4/5 write the 4"):
            read(row)
        with pytest.raises(RowError, match="points are numbers"):
            read(row, format="rated")
        return
    assert read(row).answers[0]["score"] == points
    several = read({"prompt": "q", "responses": ["a", "b"], "ratings": [value, "0"]})
    assert several.answers[0]["score"] == points


# tables in text


def test_columns_that_excel_leaves_behind_the_others_hold_nothing(tmp_path: Path) -> None:
    for table in ("prompt,completion,,\nq,a,,\nq,a, ,\n", "prompt,completion\nq,a,,\nq,a,\n"):
        assert [said(item) for item in items_in(written(tmp_path / "a.csv", table))] == [SAID, SAID]
    rows = rows_in(written(tmp_path / "b.csv", "prompt,completion,,\nq,a,x,\n"))
    assert isinstance(rows[0], BadRow) and rows[0].reason == "words in a column without a name"
    rows = rows_in(written(tmp_path / "c.csv", "prompt,completion\nq,a,x\n"))
    assert isinstance(rows[0], BadRow) and rows[0].reason.startswith("not as many fields as columns: 3")
    rows = rows_in(written(tmp_path / "d.csv", ",prompt,completion\n0,q,a\n"))
    assert isinstance(rows[0], Row) and rows[0].value == {"": "0", "prompt": "q", "completion": "a"}
    rows = rows_in(written(tmp_path / "e.csv", 'a,"x\ny","x\ny"\n1,2,3\n'))
    assert isinstance(rows[0], BadRow) and rows[0].reason == r"the first line names a column twice: x\ny"


@pytest.mark.parametrize("first", ["sep=;\n", '"sep=;"\r\n', "sep=|\n", "\nsep=;\n"])
def test_a_line_that_tells_the_delimiter_is_heard(tmp_path: Path, first: str) -> None:
    delimiter = first.strip('\r\n"')[-1]
    table = f"{first}prompt,x{delimiter}completion\nq{delimiter}a\n"
    rows = rows_in(written(tmp_path / "a.csv", table))
    assert [row.value for row in rows if isinstance(row, Row)] == [{"prompt,x": "q", "completion": "a"}]
    assert rows[0].line == table.count("\n") and rows[0].byte_offset == len(table) - 4


def test_line_ends_of_carriage_returns_are_named(tmp_path: Path) -> None:
    rows = rows_in(written(tmp_path / "a.csv", "prompt,completion\rq,a\rq,b\r"))
    assert [one.reason for one in rows if isinstance(one, BadRow)] == [
        "line ends that are CR alone: save the file with LF or CRLF"
    ]


# what messages say


@pytest.mark.parametrize("value", [4, 4.0, True])
def test_numbers_and_truths_in_the_place_of_words_are_named(value: Any) -> None:
    row = {"question": "q", "answer": value}
    with pytest.raises(CorpusError, match="Field 'answer' holds no text: write its numbers and truths in quotes"):
        read(row)
    good = {"question": "q", "answer": "a"}
    own = source("a.jsonl")
    rows = [Row("a.jsonl", place, 0, one, b"") for place, one in enumerate((good, row), start=1)]
    with pytest.raises(RowError, match="field 'answer' is not text: write numbers and truths in quotes"):
        reader(own, choose_format(own, None, rows)[0])(rows[1])


def test_a_row_of_nothing_and_a_name_of_two_lines_are_shown() -> None:
    with pytest.raises(CorpusError, match=r"a\.jsonl:1 has no fields. Name"):
        read({})
    with pytest.raises(CorpusError) as caught:
        read({"a\nb": "x", "c\nd": [{"who": 1}]})
    assert "\n" not in str(caught.value) and r"a\nb" in str(caught.value)


def test_an_answer_beside_its_turns_is_named() -> None:
    for answer in ("response", "completion"):
        row = {"messages": [U], answer: "a"}
        mend = rf"\(if field '{answer}' is it: columns: \{{prompt: messages, completion: {answer}\}}\)"
        with pytest.raises(RowError, match=mend):
            read(row)
        assert said(read(row, columns={"prompt": "messages", "completion": answer})) == SAID


@pytest.mark.parametrize(
    "table",
    [
        {"prompt": {"0": "q", "1": "q"}, "completion": {"0": "a", "1": "a"}},
        {"prompt": ["q", "q"], "completion": ["a", "a"]},
        {"columns": ["prompt", "completion"], "index": [0], "data": [["q", "a"]]},
        {"0": {"prompt": "q", "completion": "a"}, "1": {"prompt": "q", "completion": "a"}},
    ],
)
def test_a_whole_table_in_one_object_is_named(table: dict[str, Any]) -> None:
    with pytest.raises(CorpusError, match=r"write its rows one a line: to_json\(…, orient='records', lines=True\)"):
        read(table)
