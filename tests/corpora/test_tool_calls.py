"""Conversations with tool calls: the forms of OpenAI and of glaive become one, in the order that calls have."""

import json
from typing import Any

import pytest

from corpora.formats.formats import Conversation, choose_format
from corpora.reading.row import Row, RowError
from tests.corpora.made import source

SCHEMA = {"name": "add", "description": "d", "parameters": {"type": "object", "properties": {}}}
ARGUMENTS = {"a": 1, "b": ["é", {"c": None}]}
CALLS = json.dumps([{"name": "add", "arguments": ARGUMENTS}], ensure_ascii=False)
EXPECTED = [
    {"role": "user", "content": "q"},
    {"role": "assistant", "content": "", "tool_calls": CALLS},
    {"role": "tool", "content": "3"},
    {"role": "assistant", "content": "three"},
]


def convert(value: dict[str, Any], **fields: Any) -> Conversation:
    format_, _ = choose_format(source("a.jsonl", **fields), None, [Row("a.jsonl", 1, 0, value, b"")])
    [item] = format_.read(value)
    assert isinstance(item, Conversation)
    return item


def shared(*turns: tuple[str, str], **more: Any) -> dict[str, Any]:
    return {"conversations": [{"from": role, "value": text} for role, text in turns], **more}


def openai(call: dict[str, Any], result: dict[str, Any], **more: Any) -> dict[str, Any]:
    asked, answered = {"role": "user", "content": "q"}, {"role": "assistant", "content": "three"}
    return {"messages": [asked, {"role": "assistant", "content": None, **call}, result, answered], **more}


FUNCTION = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": json.dumps(ARGUMENTS)}}


@pytest.mark.parametrize("tools", [[SCHEMA], json.dumps([SCHEMA]), [{"type": "function", "function": SCHEMA}]])
def test_glaive_turns_and_tools(tools: Any) -> None:
    call = json.dumps({"name": "add", "arguments": ARGUMENTS})
    row = shared(("human", "q"), ("function_call", call), ("observation", "3"), ("gpt", "three"), tools=tools)
    item = convert(row)
    assert item.messages == EXPECTED
    assert json.loads(item.tools or "") == [SCHEMA]


@pytest.mark.parametrize(
    ("call", "result", "named"),
    [
        ({"tool_calls": [FUNCTION]}, {"role": "tool", "tool_call_id": "c1", "content": "3"}, True),
        ({"tool_calls": [FUNCTION]}, {"role": "tool", "content": [{"type": "text", "text": "3"}]}, False),
        ({"tool_calls": [{"name": "add", "arguments": ARGUMENTS}]}, {"role": "tool", "content": "3"}, False),
        ({"function_call": FUNCTION["function"]}, {"role": "function", "name": "add", "content": "3"}, True),
    ],
)
def test_openai_calls_old_and_new(call: dict[str, Any], result: dict[str, Any], named: bool) -> None:
    item = convert(openai(call, result, tools=[{"type": "function", "function": SCHEMA}]))
    assert item.messages == [
        EXPECTED[0],
        EXPECTED[1],
        {**EXPECTED[2], **({"name": "add"} if named else {})},
        EXPECTED[3],
    ]
    assert json.loads(item.tools or "") == [SCHEMA]


def test_several_calls_have_several_results_and_may_be_the_end() -> None:
    two = json.dumps([{"name": "add", "arguments": {}}, {"name": "add", "arguments": {"a": 2}}])
    turns = [("human", "q"), ("function_call", two), ("observation", "1"), ("observation", ""), ("gpt", "done")]
    assert [m["role"] for m in convert(shared(*turns)).messages] == ["user", "assistant", "tool", "tool", "assistant"]
    assert json.loads(convert(shared(*turns[:2])).messages[-1]["tool_calls"]) == json.loads(two)


@pytest.mark.parametrize("tools", ["", "[]", [], None])
def test_no_functions_are_none(tools: Any) -> None:
    assert convert(shared(("human", "q"), ("gpt", "a"), tools=tools)).tools is None


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (shared(("human", "q"), ("function_call", "add(1)"), ("gpt", "a")), "not JSON: the tool calls of turn 2"),
        (shared(("human", "q"), ("function_call", "{}")), "no function's name: the tool calls of turn 2"),
        (shared(("human", "q"), ("function_call", '{"name": "f", "arguments": [1]}')), "arguments are not an object"),
        (shared(("human", "q"), ("function_call", CALLS), ("gpt", "a")), "turn 3 is of the assistant, not of the tool"),
        (shared(("human", "q"), ("observation", "1"), ("gpt", "a")), "turn 2 is of the tool, not of the assistant"),
        (shared(("human", "q"), ("function_call", CALLS), ("observation", "1")), "no answer"),
        (shared(("human", "q"), ("gpt", "a"), tools="add"), "not JSON: field 'tools'"),
        (shared(("human", "q"), ("gpt", "a"), tools=[{"type": "function"}]), "a function without a name"),
        (openai({"tool_calls": []}, {"role": "tool", "content": "3"}), "not text: the words of turn 2"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]},
            "holds images, which a text model cannot see: turn 1",
        ),
    ],
)
def test_calls_that_do_not_convert(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(RowError, match=reason):
        convert(row)


@pytest.mark.parametrize("words", ["system", "developer"])
def test_roles_of_other_spellings(words: str) -> None:
    row = {
        "messages": [
            {"role": words, "content": "s"},
            {"role": "human", "content": "q"},
            {"role": "bot", "content": "a"},
        ]
    }
    assert [m["role"] for m in convert(row).messages] == ["system", "user", "assistant"]


@pytest.mark.parametrize("name", ["conversation", "conversations", "dialog", "data"])
def test_bare_words_are_user_and_assistant_in_turn(name: str) -> None:
    item = convert({name: ["q", "a", "p", "b"]})
    assert [(m["role"], m["content"]) for m in item.messages] == [
        ("user", "q"),
        ("assistant", "a"),
        ("user", "p"),
        ("assistant", "b"),
    ]
