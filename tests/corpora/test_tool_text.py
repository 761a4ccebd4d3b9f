"""Tool calls written into words: glaive's dialogues, Hermes's tags, and turns in typed parts, with reasoning."""

import json
from typing import Any

import pytest

from corpora.formats.formats import Conversation, choose_format
from corpora.reading.row import Row, RowError
from lineage.errors import CorpusError
from tests.corpora.made import source, talk

ADD = {"name": "add", "description": "adds", "parameters": {"type": "object", "properties": {}}}
SUB = {"name": "sub", "parameters": {}}
CALLS = json.dumps([{"name": "add", "arguments": {"a": 1, "b": "it's"}}])
END = "<|endoftext|>"


def convert(value: dict[str, Any], **fields: Any) -> tuple[str, Conversation]:
    format_, _ = choose_format(source("a.jsonl", **fields), None, [Row("a.jsonl", 1, 0, value, b"")])
    [item] = format_.read(value)
    assert isinstance(item, Conversation)
    return format_.name, item


def turn(role: str, content: str, **more: str) -> dict[str, str]:
    return {"role": role, "content": content, **more}


def glaive(*turns: tuple[str, str], functions: str | None = json.dumps(ADD, indent=4)) -> dict[str, Any]:
    can = "with access to the following functions. Use them if required -" if functions else ", with no functions."
    chat = "\n\n\n".join(f"{speaker}: {words}" for speaker, words in turns)
    return {"system": f"SYSTEM: You are a helpful assistant {can}\n{functions or ''}\n", "chat": f"{chat}\n\n\n"}


CALL = '<functioncall> {"name": "add", "arguments": \'{"a": 1, "b": "it\'s"}\'} ' + END
CALLED = [("USER", "q"), ("ASSISTANT", CALL), ("FUNCTION RESPONSE", '{"sum": 3}'), ("ASSISTANT", f"three {END}")]


def test_a_glaive_dialogue_with_a_call() -> None:
    name, item = convert(glaive(*CALLED))
    assert name == "glaive"
    assert item.messages == [
        turn("user", "q"),
        turn("assistant", "", tool_calls=CALLS),
        turn("tool", '{"sum": 3}'),
        turn("assistant", "three"),
    ]
    assert json.loads(item.tools or "") == [ADD]


@pytest.mark.parametrize(
    "call",
    [
        '{"name": "add", "arguments": {"a": 1, "b": "it\'s"}}',
        '{"name": "add", "arguments": \'{"a": 1, "b": "it\\\'s"}\'}',
        '{"name": "add",\n "arguments": "{\\"a\\": 1, \\"b\\": \\"it\'s\\"}"}',
    ],
)
def test_the_arguments_of_a_glaive_call_are_quoted_in_every_way(call: str) -> None:
    _, item = convert(glaive(("USER", "q"), ("ASSISTANT", f"I add. <functioncall> {call} {END}")))
    assert item.messages[1:] == [turn("assistant", "I add.", tool_calls=CALLS)]


def test_a_glaive_dialogue_that_lost_its_line_breaks() -> None:
    row = glaive(*CALLED)
    assert convert({**row, "chat": row["chat"].replace("\n\n\n", " ")}) == convert(row)
    quoted = glaive(("USER", "what is an ASSISTANT: line?"), ("ASSISTANT", "one like USER: this"))
    assert [message["role"] for message in convert(quoted)[1].messages] == ["user", "assistant"]


def test_a_glaive_system_prompt_keeps_what_it_says_beside_functions() -> None:
    turns = [("USER", "q"), ("ASSISTANT", f"a {END}"), ("USER", "more"), ("ASSISTANT", "b")]
    _, item = convert(glaive(*turns, functions=None))
    assert item.messages[0] == turn("system", "You are a helpful assistant , with no functions.") and not item.tools
    two = f"{json.dumps(ADD)}\n\n{json.dumps(SUB)}"
    row = {**glaive(*turns), "system": f"SYSTEM: Be brief.\nYou have functions -\n{two}\nBe kind."}
    _, item = convert(row)
    assert item.messages[0] == turn("system", "Be brief.\nBe kind.")
    assert json.loads(item.tools or "") == [ADD, SUB]


HERMES_SYSTEM = (
    "You are a function calling AI model. You are provided with function signatures within <tools></tools> XML tags.\n"
    f"Here are the tools: <tools>\n[{json.dumps({'type': 'function', 'function': ADD})}]\n</tools>\n"
    "For each call return a JSON object within tags:\n<tool_call>\n{'arguments': <args>, 'name': <name>}\n</tool_call>"
)
QWEN_SYSTEM = (
    "Be brief.\n\n# Tools\n\nYou may call one or more functions.\n\nSignatures are within <tools></tools> XML tags:\n"
    f"<tools>\n{json.dumps({'type': 'function', 'function': ADD})}\n{json.dumps(SUB)}\n</tools>\n\n"
    'Answer with\n<tool_call>\n{"name": <name>}\n</tool_call>'
)
WRITTEN = '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": "it\'s"}}\n</tool_call>'


def shared(*turns: tuple[str, str], **more: Any) -> dict[str, Any]:
    return {"conversations": [{"from": role, "value": words} for role, words in turns], **more}


def test_a_hermes_conversation_with_two_calls() -> None:
    python = "<tool_call>\n{'arguments': {'a': None}, 'name': 'sub'}\n</tool_call>"
    results = "<tool_response>\n3\n</tool_response>\n<tool_response>\n{}\n</tool_response>"
    turns = [("human", "q"), ("gpt", f"I add.\n{WRITTEN}\n{python}\n"), ("tool", results), ("gpt", "three")]
    name, item = convert(shared(("system", HERMES_SYSTEM), *turns))
    assert name == "hermes"
    both = json.dumps([*json.loads(CALLS), {"name": "sub", "arguments": {"a": None}}])
    assert item.messages == [
        turn("user", "q"),
        turn("assistant", "I add.", tool_calls=both),
        turn("tool", "3"),
        turn("tool", "{}"),
        turn("assistant", "three"),
    ]
    assert json.loads(item.tools or "") == [ADD]


def test_results_may_stand_in_a_turn_of_the_user_and_the_system_prompt_keeps_its_own_words() -> None:
    response = "<tool_response>\n3\n</tool_response>"
    messages = [turn("system", QWEN_SYSTEM), turn("user", "q"), turn("assistant", WRITTEN), turn("user", response)]
    name, item = convert({"messages": [*messages, turn("assistant", "three")]})
    assert name == "hermes"
    assert item.messages[0] == turn("system", "Be brief.")
    assert item.messages[3] == turn("tool", "3")
    assert json.loads(item.tools or "") == [ADD, SUB]


def test_functions_beside_the_turns_go_before_those_in_words_if_they_are_the_same() -> None:
    again = [{**tool, "description": "other words"} for tool in (ADD,)]
    row = shared(("system", HERMES_SYSTEM), ("human", "q"), ("gpt", WRITTEN), tools=json.dumps(again))
    assert json.loads(convert(row)[1].tools or "") == again
    with pytest.raises(RowError, match="functions twice, which differ"):
        convert({**row, "tools": [SUB]})


def test_functions_without_an_end_are_refused() -> None:
    row = shared(("system", 'Call these: <tools>[{"name": "f"}]'), ("human", "q"), ("gpt", WRITTEN))
    with pytest.raises(RowError, match="functions or calls in the system prompt without an end"):
        convert(row)


def test_a_row_with_tags_can_be_read_as_plain_words_by_the_recipe() -> None:
    row = shared(("human", "q"), ("gpt", WRITTEN))
    assert convert(row, format="sharegpt") == (
        "sharegpt",
        Conversation([turn("user", "q"), turn("assistant", WRITTEN)]),
    )
    plain = talk("What does <tool_call> mean?", "A tag.")
    assert convert(plain) == ("chatml", Conversation(plain["messages"]))
    assert convert(plain, format="hermes") == ("hermes", Conversation(plain["messages"]))


def part(kind: str, value: str) -> dict[str, str]:
    return {"type": kind, "value": value}


def test_typed_parts_with_reasoning_and_calls() -> None:
    call = json.dumps(json.loads(CALLS)[0])
    messages = [
        {"role": "user", "content": [part("text", "q")]},
        {"role": "assistant", "content": [part("reasoning", " hm "), part("tool_call", call), part("tool_call", call)]},
        {"role": "tool", "content": [part("text", "3")]},
        {"role": "tool", "content": [part("text", "3")]},
        {"role": "assistant", "content": [part("reasoning", "so"), part("text", "three")], "loss_weight": 1.0},
    ]
    name, item = convert({"messages": messages, "tools": json.dumps([ADD])})
    assert name == "chatml"
    twice = json.dumps(json.loads(CALLS) * 2)
    assert item.messages[1] == turn("assistant", "<think>\nhm\n</think>", tool_calls=twice)
    assert item.messages[4] == turn("assistant", "<think>\nso\n</think>\n\nthree", weight="1")


@pytest.mark.parametrize(
    "answer",
    [
        *({"content": "a", name: " so\n"} for name in ("reasoning_content", "reasoning", "thinking")),
        {"content": "a", "reasoning": "so", "reasoning_content": "so", "thinking": None},
        {"content": "<think>so</think>a", "reasoning": "so"},
        {"content": "a", "reasoning_content": "<think>\nso\n</think>"},
        {"content": [{"type": "thinking", "thinking": "so", "signature": "x"}, {"type": "text", "text": "a"}]},
        {"content": [part("reasoning", "so"), part("text", "a")], "reasoning": "so"},
    ],
)
def test_thoughts_beside_the_words_are_kept(answer: dict[str, Any]) -> None:
    _, item = convert({"messages": [turn("user", "q"), {"role": "assistant", **answer}]})
    assert item.messages[1] == turn("assistant", "<think>\nso\n</think>\n\na")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"content": "a", "reasoning": "so", "thinking": "other"}, "thoughts twice, which differ: turn 2"),
        ({"content": "<think>so</think>a", "reasoning": "other"}, "thoughts twice, which differ: turn 2"),
        ({"content": "a", "reasoning": {"tokens": 3}}, "not text: the thoughts of turn 2"),
        ({"content": "a", "reasoning": "the tag </think> ends it"}, "</think> inside the thoughts of turn 2"),
        ({"content": "", "reasoning": "so"}, "thoughts without an answer: turn 2"),
        ({"content": "<think>\nso\n</think>"}, "thoughts without an answer: turn 2"),
    ],
)
def test_thoughts_that_cannot_be_learned_as_they_stand_are_refused(answer: dict[str, Any], reason: str) -> None:
    with pytest.raises(RowError, match=reason):
        convert({"messages": [turn("user", "q"), {"role": "assistant", **answer}]})
    with pytest.raises(RowError, match="thoughts or calls that are not of the assistant: turn 1"):
        convert({"messages": [{**turn("user", "q"), "reasoning": "so"}, turn("assistant", "a")]})


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (glaive(("USER", "q"), ("ASSISTANT", f"<functioncall> add(1) {END}")), "not JSON: the tool calls of turn 2"),
        (glaive(("USER", "q"), ("ASSISTANT", "<functioncall> [1]")), "not an object: the tool calls of turn 2"),
        (glaive(("USER", "q"), ("ASSISTANT", f"a {END} b")), "an end of text inside turn 2"),
        (glaive(*CALLED[:2], CALLED[3]), "turn 3 is of the assistant, not of the tool"),
        (glaive(*CALLED, functions='{"name": '), "not JSON: the functions of the system prompt"),
        ({**glaive(*CALLED), "chat": f"Hello.\n{glaive(*CALLED)['chat']}"}, "words before the first turn"),
        ({**glaive(*CALLED), "system": 7}, "field 'system' is not text"),
        (shared(("human", "q"), ("gpt", f"{WRITTEN} done")), "words behind a tool call"),
        (shared(("human", "q"), ("gpt", f"{WRITTEN}\n<tool_call>{{}}")), "a call without an end: turn 2"),
        (shared(("human", "q"), ("gpt", "<tool_call>add</tool_call>")), "not JSON: the tool calls of turn 2"),
        (shared(("human", "q"), ("gpt", "<tool_call>{'name': {1}}</tool_call>")), "no function's name"),
        (
            shared(("human", "q"), ("gpt", "<tool_call>{'name': 'f', 'arguments': {'a': {1}}}</tool_call>")),
            "not JSON: the tool calls of turn 2",
        ),
        (
            shared(("human", "q"), ("gpt", '<tool_call>{"name": "f", "arguments": {"a": "\\ud800"}}</tool_call>')),
            "not JSON: the tool calls of turn 2",
        ),
        (shared(("human", "q"), ("gpt", f"<tool_call>{'[' * 9999}</tool_call>")), "not JSON: the tool calls"),
        (
            shared(("human", "q"), ("gpt", WRITTEN), ("tool", "so: <tool_response>3</tool_response>"), ("gpt", "a")),
            "words beside the results of tools: turn 3",
        ),
        (shared(("system", "<tools>[oh]</tools>"), ("human", "q"), ("gpt", "a")), "not JSON: the functions of"),
        ({"messages": [{"role": "user", "content": [part("reasoning", "x")]}]}, "not of the assistant: turn 1"),
        (
            {"messages": [{"role": "user", "content": [part("audio", "x")]}]},
            "holds sound, which a text model cannot hear",
        ),
        ({"messages": [turn("user", "q"), {"role": "assistant", "content": [part("tool_call", "f")]}]}, "not JSON"),
    ],
)
def test_written_calls_that_do_not_convert(row: dict[str, Any], reason: str) -> None:
    with pytest.raises(RowError, match=reason):
        convert(row)


def test_a_dialogue_with_other_fields_of_a_format_is_not_guessed() -> None:
    row = {**glaive(*CALLED), "text": "words"}
    with pytest.raises(CorpusError, match=r"fits two formats, glaive \(.*\) and text \(text\)"):
        convert(row)


FUNCTION = '{"name": "f", "parameters": {}}'
TAGGED = f"<tools>\n{FUNCTION}\n</tools>"
STANDARD = (
    "You are a function calling AI model. You are provided with function signatures within <tools></tools> XML tags. "
    "You may call one or more functions. Don't make assumptions about what values to plug into functions. Here are the "
    f"available tools: <tools> [{FUNCTION}] </tools> Use the following pydantic model json schema for each tool call "
    "you will make: {'title': 'FunctionCall', 'type': 'object'} For each function call return a json object with "
    "function name and arguments within <tool_call></tool_call> XML tags as follows:\n"
    '<tool_call>\n{"arguments": <args-dict>, "name": <function-name>}\n</tool_call>'
)


@pytest.mark.parametrize(
    ("system", "kept"),
    [
        (STANDARD, None),
        (f"You are Bob.\n\n{STANDARD}\nBe brief.", "You are Bob.\n\nBe brief."),
        (
            f"You are Bob, a pirate. Your tools: {TAGGED}\nAlways answer in French.\n"
            "Call with <tool_call>{}</tool_call>.",
            "You are Bob, a pirate.\nAlways answer in French.",
        ),
        (
            f"You sell hammers.\n# Tools we sell\nHammers at 5 EUR.\nNever give discounts.\n\nYou may call:\n{TAGGED}",
            "You sell hammers.\n# Tools we sell\nHammers at 5 EUR.\nNever give discounts.",
        ),
        (f"{TAGGED}\nSpeak plainly. Answer with:\n<tool_call>{{}}</tool_call>", "Speak plainly."),
    ],
)
def test_of_a_system_prompt_only_what_it_says_of_calling_is_left_out(system: str, kept: str | None) -> None:
    messages = [turn("system", system), turn("user", "q"), turn("assistant", "a")]
    _, item = convert({"messages": messages})
    found = item.messages[0]
    assert (found["content"] if found["role"] == "system" else None) == kept
    assert json.loads(item.tools) == [{"name": "f", "parameters": {}}]


def test_functions_of_every_block_are_read() -> None:
    other = TAGGED.replace('"f"', '"g"')
    messages = [turn("system", f"Be brief.\n{TAGGED}\n{other}"), turn("user", "q"), turn("assistant", "a")]
    _, item = convert({"messages": messages})
    assert [one["name"] for one in json.loads(item.tools)] == ["f", "g"]
    assert item.messages[0]["content"] == "Be brief."
