"""Turns in a source's own words: read where they say what they mean, or as the recipe's `turns` says."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpora.formats.formats import choose_format, reader
from corpora.reading.row import Row, RowError
from lineage.errors import CorpusError
from models.thoughts import dropped
from tests.corpora.made import cleaned, source, talk
from tests.corpora.made import write_jsonl as written


def read(value: dict[str, Any], **declared: Any) -> Any:
    """The one item of a row."""
    given = source("a.jsonl", **declared)
    row = Row("a.jsonl", 1, 0, value, b"")
    [found] = reader(given, choose_format(given, None, [row])[0])(row)
    return found


def said(item: Any) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in item.messages]


PLAIN = [("user", "q"), ("assistant", "a")]


def shared(*turns: tuple[str, str], **names: str) -> dict[str, Any]:
    role, content = names.get("role", "from"), names.get("content", "value")
    return {"conversations": [{role: who, content: words} for who, words in turns]}


@pytest.mark.parametrize(
    "row",
    [
        {"conversation": [{"human": "q", "assistant": "a"}]},
        {"conversations": [{"Human": "q"}, {"gpt": "a"}]},
        {"messages": json.dumps(talk("q", "a")["messages"])},
        {"messages": json.dumps(talk("q", "a"))},
        {"conversation": json.dumps([{"human": "q", "assistant": "a"}])},
        {"conversation": [{"human": "q", "assistant": "a", "system": None}]},
        {"conversation": [{"assistant": "a", "human": "q"}]},
    ],
)
def test_turns_that_say_what_they_are_are_read(row: dict[str, Any]) -> None:
    assert said(read(row)) == PLAIN


def test_a_pair_of_conversations_as_json_text_is_read() -> None:
    found = read({"chosen": json.dumps(talk("q", "a")), "rejected": json.dumps(talk("q", "b"))})
    assert (found.prompt[0]["content"], found.chosen[0]["content"], found.rejected[0]["content"]) == ("q", "a", "b")


def test_a_system_prompt_beside_whole_conversations_of_a_pair_is_kept() -> None:
    pair = {"chosen": talk("q", "a")["messages"], "rejected": talk("q", "b")["messages"]}
    assert read({"system": "Be brief.", **pair}).prompt[0] == {"role": "system", "content": "Be brief."}
    within = {name: [{"role": "system", "content": "Other."}, *turns] for name, turns in pair.items()}
    with pytest.raises(RowError, match="two system prompts that differ"):
        read({"system": "Be brief.", **within})


def test_own_words_for_roles_and_keys_are_what_the_recipe_says() -> None:
    own = shared(("Customer", "q"), ("agent", "a"))
    with pytest.raises(RowError, match=r"unknown role: 'Customer' of turn 1 \(turns: \{roles: …\} in the source"):
        read(own)
    roles = {"customer": "user", "AGENT": "assistant"}
    assert said(read(own, turns={"roles": roles})) == PLAIN
    keys = shared(("customer", "q"), ("agent", "a"), role="who", content="what")
    assert said(read(keys, turns={"roles": roles, "role": "who", "content": "what"})) == PLAIN
    paired = {"messages": [{"agent": "a", "Customer": "q"}]}
    assert said(read(paired, turns={"roles": roles})) == PLAIN
    in_text = {"messages": json.dumps(keys["conversations"])}
    assert said(read(in_text, turns={"roles": roles, "role": "who", "content": "what"})) == PLAIN
    with pytest.raises(CorpusError, match="fit no known format"):
        read(keys)


def test_what_stands_in_no_order_is_read_as_the_recipe_says() -> None:
    greeted = shared(("gpt", "hello"), ("human", "q"), ("gpt", "a"))
    twice = shared(("human", "q1"), ("human", "q2"), ("gpt", "a1"), ("gpt", "a2"))
    unanswered = shared(("human", "q"), ("gpt", "a"), ("human", "thanks"), ("human", "bye"))
    for row, mend in (
        (greeted, "opening: keep"),
        (twice, "same_role: join"),
        (unanswered, "last_user: drop|same_role"),
    ):
        with pytest.raises(RowError, match=mend):
            read(row)
    assert said(read(greeted, turns={"opening": "drop"})) == PLAIN
    kept = read(greeted, turns={"opening": "keep"})
    assert said(kept) == [("assistant", "hello"), *PLAIN]
    assert [message.get("weight") for message in kept.messages] == ["0", None, None]
    assert said(read(twice, turns={"same_role": "join"})) == [("user", "q1\n\nq2"), ("assistant", "a1\n\na2")]
    assert said(read(unanswered, turns={"last_user": "drop"})) == PLAIN
    system = {**greeted, "conversations": [{"from": "system", "value": "s"}, *greeted["conversations"]]}
    assert said(read(system, turns={"opening": "keep"}))[:2] == [("system", "s"), ("assistant", "hello")]


def test_a_prompt_and_its_answers_are_no_whole_conversations_to_cut() -> None:
    """A prompt ends with the user, and answers begin with the assistant."""
    asked, answer = talk("q", "a")["messages"]
    cut = {"opening": "drop", "last_user": "drop"}
    pair = read({"prompt": [asked], "chosen": [answer], "rejected": [{**answer, "content": "b"}]}, turns=cut)
    assert (pair.prompt, pair.chosen) == ([asked], [answer])
    assert said(read({"prompt": [asked], "completion": [answer]}, turns=cut)) == PLAIN
    greeting = {"role": "assistant", "content": "hello"}
    whole = {name: [greeting, asked, {**answer, "content": name}] for name in ("chosen", "rejected")}
    assert read(whole, turns=cut).prompt == [asked]


def test_a_call_is_not_joined_to_its_neighbour() -> None:
    call = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}
    turns = [*talk("q", "a")["messages"], call]
    with pytest.raises(RowError, match="roles out of order"):
        read({"messages": turns}, turns={"same_role": "join"})


@pytest.mark.parametrize(
    "second",
    [
        {"content": "b", "weight": 0},
        {"content": "b", "reasoning_content": "t"},
        {"content": "<think>t</think>b"},
        {"content": "b", "function_call": {"name": "f", "arguments": "{}"}},
    ],
)
def test_neighbours_that_are_not_words_alone_or_are_marked_otherwise_are_not_joined(second: dict[str, Any]) -> None:
    turns = [*talk("q", "a")["messages"], {"role": "assistant", **second}]
    with pytest.raises(RowError, match="roles out of order"):
        read({"messages": turns}, turns={"same_role": "join"})


def test_results_of_tools_are_not_joined_and_named_keys_come_first() -> None:
    called = [{"id": one, "function": {"name": name, "arguments": {}}} for one, name in (("1", "f"), ("2", "g"))]
    results = [{"role": "tool", "content": words, "tool_call_id": one} for words, one in (("r1", "1"), ("r2", "2"))]
    asked, answer = talk("q", "a")["messages"]
    turns = [asked, {"role": "assistant", "content": "", "tool_calls": called}, *results, answer]
    found = read({"messages": turns}, turns={"same_role": "join"})
    assert [message.get("name") for message in found.messages if message["role"] == "tool"] == ["f", "g"]
    own = [{"who": role, "what": words, "content": "other"} for role, words in (("user", "q"), ("assistant", "a"))]
    assert said(read({"messages": own}, turns={"role": "who", "content": "what"})) == PLAIN


@pytest.mark.parametrize("blank", ["\u200b", "\ufeff", "\u3164", " \u2060\n", "\u00ad"])
def test_words_of_which_nothing_can_be_seen_are_none(blank: str) -> None:
    for row in ({"instruction": "q", "output": blank}, {"instruction": blank, "output": "a"}, talk("q", blank)):
        with pytest.raises(RowError, match="empty"):
            read(row)
    assert said(read(talk("q", f"{blank}a")))[1] == ("assistant", f"{blank}a")


@pytest.mark.parametrize(
    ("answer", "kept"),
    [("    return x\n", "    return x"), ("\n \n\tif x:\n\t\ty\n", "\tif x:\n\t\ty"), (" y", " y"), ("\r\n a", " a")],
)
def test_blanks_before_the_words_of_an_answer_are_kept_and_empty_lines_are_not(answer: str, kept: str) -> None:
    for row in ({"prompt": "q", "completion": answer}, talk(" q ", answer), {"instruction": "q", "output": answer}):
        assert said(read(row)) == [("user", "q"), ("assistant", kept)]


def test_an_answer_behind_a_separator_or_a_name_has_no_blanks_before_it() -> None:
    split = read({"text": "q\nA: a"}, separator="A:", columns={"text": "text"})
    assert said(split) == PLAIN
    pair = read({"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: q\n\nAssistant: b"})
    assert pair.chosen[0]["content"] == "a"


ARROW = {
    "messages": [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]},
        {"role": "tool", "content": "1", "name": "f"},
        {"role": "assistant", "content": "b", "tool_calls": None},
    ],
    "tools": [
        {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}},
        {"name": "g", "parameters": {"type": "object", "properties": {"b": {"enum": ["1", None]}}, "required": None}},
    ],
}


def test_nulls_that_arrow_put_into_structs_are_left_out(tmp_path: Path) -> None:
    other = json.loads(json.dumps(ARROW).replace('"a": 1', '"b": 2'))
    pq.write_table(pa.Table.from_pylist([ARROW, other]), tmp_path / "t.parquet")
    from corpora.reading.columnar import parquet_rows
    from corpora.sources.raw import RawFile

    first, second = (element.value for element in parquet_rows(RawFile("t.parquet", tmp_path / "t.parquet")))
    assert first["messages"][1]["tool_calls"] == [{"function": {"name": "f", "arguments": {"a": 1}}}]
    assert second["messages"][1]["tool_calls"] == [{"function": {"name": "f", "arguments": {"b": 2}}}]
    assert first["tools"][0]["parameters"]["properties"] == {"a": {"type": "integer"}}
    assert first["tools"][1]["parameters"] == {"type": "object", "properties": {"b": {"enum": ["1", None]}}}
    assert first["messages"][1]["content"] is None and first["messages"][3]["tool_calls"] is None


def test_nulls_that_a_row_of_json_holds_stay(tmp_path: Path) -> None:
    tools = [{"name": "f", "parameters": {"properties": {"a": {"default": None}}}}]
    found = read({**talk("q", "a"), "tools": tools})
    assert json.loads(found.tools) == tools


def test_bytes_that_are_text_are_text_and_others_are_refused_by_their_field(tmp_path: Path) -> None:
    table = pa.table({"text": pa.array(["grüezi".encode(), b"\xff\xfe\x00"], pa.binary())})
    (tmp_path / "in").mkdir()
    pq.write_table(table, tmp_path / "in" / "b.parquet")
    from corpora.reading.columnar import parquet_rows
    from corpora.sources.raw import RawFile

    good, bad = parquet_rows(RawFile("b.parquet", tmp_path / "in" / "b.parquet"))
    assert good.value == {"text": "grüezi"} and bad.value == {"text": b"\xff\xfe\x00"}
    assert json.loads(bad.raw) == {"text": "//4A"}


XLAM = {
    "query": "Rain in Bern?",
    "answers": '[{"name": "rain", "arguments": {"city": "Bern"}}, {"name": "wind", "arguments": {}}]',
    "tools": json.dumps(
        [
            {
                "name": "rain",
                "description": "d",
                "parameters": {
                    "city": {"type": "str", "description": "c"},
                    "days": {"type": "int, optional", "description": "n"},
                    "at": {"type": "List[int]", "default": [1]},
                },
            },
            {"name": "wind", "parameters": {"type": "object", "properties": {}}},
        ]
    ),
}


def test_xlam_rows_are_a_question_and_its_calls() -> None:
    found = read(XLAM)
    assert found.messages[0] == {"role": "user", "content": "Rain in Bern?"}
    assert json.loads(found.messages[1]["tool_calls"])[0] == {"name": "rain", "arguments": {"city": "Bern"}}
    rain, wind = json.loads(found.tools)
    assert rain["parameters"] == {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "c"},
            "days": {"type": "integer", "description": "n"},
            "at": {"type": "array", "default": [1]},
        },
        "required": ["city"],
    }
    assert wind["parameters"] == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("written", "named", "needed"),
    [
        ("Optional[int]", "integer", False),
        ("Union[str, None]", "string", False),
        ("int | None", "integer", False),
        ("str,optional", "string", False),
        ("int (optional)", "integer", False),
        ("Union[int, str]", ["integer", "string"], True),
        ("Union[int, str, None]", ["integer", "string"], False),
        ("List[Union[int, str]]", "array", True),
        ("Dict[str, int]", "object", True),
        ("datetime", "datetime", True),
        ("str | int", ["string", "integer"], True),
    ],
)
def test_types_of_parameters_in_words_of_python_are_those_of_a_schema(written: str, named: Any, needed: bool) -> None:
    described = {"properties": {"type": written}}
    [function] = json.loads(read({**XLAM, "tools": [{"name": "f", "parameters": described}]}).tools)
    assert function["parameters"]["properties"] == {"properties": {"type": named}}
    assert function["parameters"].get("required", []) == (["properties"] if needed else [])


def test_a_parameter_that_says_whether_it_is_needed_is_heard() -> None:
    described = {"a": {"type": "int", "required": False}, "b": {"type": "int", "required": True}}
    [function] = json.loads(read({**XLAM, "tools": [{"name": "f", "parameters": described}]}).tools)
    properties = {name: {"type": "integer"} for name in "ab"}
    assert function["parameters"] == {"type": "object", "properties": properties, "required": ["b"]}


def test_a_system_prompt_beside_calls_is_kept() -> None:
    assert read({**XLAM, "system": "Be brief."}).messages[0] == {"role": "system", "content": "Be brief."}


def toolace(*answers: str) -> dict[str, Any]:
    turns: list[dict[str, str]] = []
    for answer in answers:
        turns += [{"from": "user", "value": "q"}, {"from": "assistant", "value": answer}]
    functions = '[{"name": "Get Rain", "parameters": {}}, {"name": "f"}]'
    return {"system": f"You may call:\n{functions} Use them well.", "conversations": turns}


def test_calls_in_the_words_of_toolace_are_calls() -> None:
    row = toolace('[Get Rain(city="Bern (CH)", days=[1, 2]), market.trends(a={"b": None}, c=True)]')
    found = read(row)
    assert json.loads(found.messages[2]["tool_calls"]) == [
        {"name": "Get Rain", "arguments": {"city": "Bern (CH)", "days": [1, 2]}},
        {"name": "market.trends", "arguments": {"a": {"b": None}, "c": True}},
    ]
    assert json.loads(found.tools) == [{"name": "Get Rain", "parameters": {}}, {"name": "f"}]
    assert found.messages[0]["content"] == "Use them well."
    assert said(read(toolace("Hello."), format="toolace"))[1:] == [("user", "q"), ("assistant", "Hello.")]


def test_thoughts_before_calls_in_words_are_kept() -> None:
    found = read(toolace("<think>hm</think>\n[f(a=1)]"))
    assert found.messages[2]["content"] == "<think>\nhm\n</think>" and "a" in found.messages[2]["tool_calls"]
    thought = read({**XLAM, "reasoning": "hm"})
    assert thought.messages[1]["content"] == "<think>\nhm\n</think>"


def test_names_that_python_keeps_and_literals_of_json_are_read() -> None:
    found = read(toolace('[f(from="true, from=1", amount=1.5, live=true, till=null, True=[false])]'))
    assert json.loads(found.messages[2]["tool_calls"]) == [
        {"name": "f", "arguments": {"from": "true, from=1", "amount": 1.5, "live": True, "till": None, "True": [False]}}
    ]


def test_words_in_brackets_that_name_no_function_are_words() -> None:
    found = read(toolace("[See appendix (A)]"), format="toolace")
    assert found.messages[-1] == {"role": "assistant", "content": "[See appendix (A)]"}


def test_functions_are_found_however_their_list_is_written() -> None:
    call = toolace("[f(a=1)]")
    listed = 'As in [{"x": 1}], call\n[\n  {"name": "f"},\n {"type": "function", "function": {"name": "g"}}\n]\nwell.'
    found = read({**call, "system": listed})
    assert json.loads(found.tools) == [{"name": "f"}, {"name": "g"}]
    assert found.messages[0]["content"] == 'As in [{"x": 1}], call\n\nwell.'
    beside = read({**call, "system": "Be brief.", "tools": [{"name": "f"}]})
    assert json.loads(beside.tools) == [{"name": "f"}] and beside.messages[0]["content"] == "Be brief."
    with pytest.raises(RowError, match="functions twice, which differ"):
        read({**call, "tools": [{"name": "g"}]})
    with pytest.raises(RowError, match="no JSON list of functions with names"):
        read({**call, "system": '[{"name": "f"'}, format="toolace")


def test_a_list_in_words_is_no_call_where_there_are_no_functions() -> None:
    assert said(read({**toolace("[f(x=1)]"), "system": "Be brief."}))[-1] == ("assistant", "[f(x=1)]")


@pytest.mark.parametrize(
    "words",
    [
        "[f(a)]",
        "[f(a=b())]",
        "[f(a=1) g()]",
        "[f(**x)]",
        "[f(a=1)(b=2)]",
        "[f(**{'a': 1})]",
        "[f(a=1, a=2)]",
        "[f(ﬁle=1)]",
    ],
)
def test_what_is_no_list_of_calls_with_literals_is_refused(words: str) -> None:
    with pytest.raises(RowError, match="not calls as"):
        read(toolace(words), format="toolace")


def test_rows_with_calls_among_rows_without_are_read_by_the_format_that_reads_both(tmp_path: Path) -> None:
    rows = [toolace("[f(a=1)]"), toolace("Hello.")]
    with pytest.raises(CorpusError, match="or name `format: toolace`, which reads both, or `format: sharegpt` if"):
        cleaned(tmp_path, "mixed", rows)
    written(tmp_path / "again.jsonl", rows)
    assert cleaned(tmp_path, "named", rows, format="toolace").is_dir()


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        ("hm\n</think>\n\nyes", "<think>\nhm\n</think>\n\nyes"),
        ("\n</think>\n\nyes", "<think>\n</think>\n\nyes"),
        ("<think>hm</think>yes", "<think>\nhm\n</think>\n\nyes"),
        ("<think>\nhm\n</think>\n\n  x = 1", "<think>\nhm\n</think>\n\n  x = 1"),
        ("Use <think> and </think>.", "Use <think> and </think>."),
        ("A line <think> is open.", "A line <think> is open."),
    ],
)
def test_thoughts_are_kept_in_one_form(answer: str, kept: str) -> None:
    assert said(read(talk("q", answer)))[-1] == ("assistant", kept)
    [without] = dropped([{"role": "assistant", "content": kept}])
    assert dropped([without]) == [without] and "hm" not in without["content"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("<think>hm, and", "thoughts that never end: turn 2"),
        ("<think>a</think>\n<think>b</think>\nyes", "thoughts between words: turn 2"),
        ("<think>a</think>\n<think>b</think>", "thoughts between words: turn 2"),
        ("Well.\n<think>\nb\n</think>\nyes", "thoughts between words: turn 2"),
        ("<think>\nThe tag </think> ends.\n</think>\n\nyes", "thoughts between words: turn 2"),
        ("hm</think>yes", "</think> without <think>, and not on a line of its own: turn 2"),
        ("<think>hm</think>", "thoughts without an answer: turn 2"),
    ],
)
def test_what_may_be_thoughts_or_words_is_refused(answer: str, reason: str) -> None:
    with pytest.raises(RowError, match=f"^{reason}"):
        read(talk("q", answer))
