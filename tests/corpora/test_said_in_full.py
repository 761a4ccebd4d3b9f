"""Nothing that a row says is dropped or learned otherwise: it is read, or the row is refused by name."""

import json
from typing import Any

import pytest

from corpora.formats.formats import choose_format
from corpora.reading.row import Row, RowError
from lineage.errors import CorpusError
from tests.corpora.made import source, talk
from tests.corpora.test_spelling import read, said

TURNS = talk("q", "a")["messages"]
SAID = [("user", "q"), ("assistant", "a")]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": TURNS},
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
        {"prompt": "q", "completion": "a"},
        {"instruction": "q", "output": "a"},
    ],
)
def test_system_prompts_of_several_names_are_one_or_refused(row: dict[str, Any]) -> None:
    both = {"system": "Be brief.", "system_prompt": " Be brief. "}
    assert said(read({**row, **both})) == [("system", "Be brief."), *SAID]
    assert said(read({**row, "system": "", "system_prompt": None})) == SAID
    with pytest.raises(RowError, match="two system prompts that differ: in system and system_message"):
        read({**row, "system": "Be brief.", "system_message": "Be long."})
    for odd in (["Be brief."], {"text": "Be brief."}, 3):
        with pytest.raises(RowError, match="not text: the system prompt in field 'system_prompt'"):
            read({**row, "system_prompt": odd})


def test_a_system_prompt_beside_openai_s_preferences_is_kept() -> None:
    outputs = {name: [{"role": "assistant", "content": name}] for name in ("preferred_output", "non_preferred_output")}
    row = {"input": {"messages": [TURNS[0]]}, **outputs, "system_prompt": "Be brief."}
    assert read(row).prompt[0] == {"role": "system", "content": "Be brief."}
    assert read({**row, "tools": [{"name": "f"}]}).tools == '[{"name": "f"}]'


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content", "thinking"])
@pytest.mark.parametrize("row", [{"question": "q", "answer": "a"}, {"instruction": "q", "output": "a"}])
def test_thoughts_in_a_field_of_the_row_are_its_answer_s(row: dict[str, Any], name: str) -> None:
    assert said(read({**row, name: "hm"}))[-1] == ("assistant", "<think>\nhm\n</think>\n\na")
    assert said(read({**row, name: "<think>hm</think>"}))[-1] == ("assistant", "<think>\nhm\n</think>\n\na")
    assert said(read({**row, name: None})) == said(read({**row, name: True})) == SAID
    given = source("a.jsonl")
    _, evidence = choose_format(given, None, [Row("a.jsonl", 1, 0, {**row, name: "hm"}, b"")])
    assert f"thoughts in {name}" in evidence
    with pytest.raises(RowError, match="thoughts twice, which differ"):
        read({**row, name: "hm", "output" if "output" in row else "answer": "<think>no</think>a"})


@pytest.mark.parametrize("as_text", [True, False])
def test_what_stands_beside_the_turns_in_an_object_is_the_row_s(as_text: bool) -> None:
    def held(answer: str, **beside: Any) -> Any:
        value = {**talk("q", answer), **beside}
        return json.dumps(value) if as_text else value

    tools = [{"name": "f"}]
    found = read({"chosen": held("a", tools=tools, system="Be brief."), "rejected": held("b", tools=tools)})
    assert found.tools == '[{"name": "f"}]'
    assert [message["content"] for message in (*found.prompt, *found.chosen)] == ["Be brief.", "q", "a"]
    with pytest.raises(RowError, match="'tools' in field 'rejected' is another one than beside it"):
        read({"chosen": held("a", tools=tools), "rejected": held("b", tools=[{"name": "g"}])}, format="preference")


@pytest.mark.parametrize("words", ["<image>\nWhat?", "What?\n<image>", "<audio>What?", "What? <video>"])
def test_words_that_stand_for_media_are_refused(words: str) -> None:
    with pytest.raises(RowError, match=r"holds (images|sound|videos), which a text model cannot (see|hear): turn 1"):
        read(talk(words, "a"))


@pytest.mark.parametrize("words", ["How does <image> work in SVG?", "Is <img> or <image> right?", "<imagery>"])
def test_words_about_media_are_words(words: str) -> None:
    assert said(read(talk(words, "a")))[0] == ("user", words)


def test_marks_of_parts_and_inside_calls_are_heard() -> None:
    call = {"function": {"name": "f", "arguments": {}, "weight": 0}}
    found = read({"messages": [*TURNS, TURNS[0], {"role": "assistant", "content": "", "tool_calls": [call]}]})
    assert [message.get("weight") for message in found.messages] == [None, None, None, "0"]
    part = {"type": "text", "text": "a", "loss": False}
    with pytest.raises(RowError, match="'loss' marks parts of a turn, which is not known: turn 2"):
        read({"messages": [TURNS[0], {"role": "assistant", "content": [part]}]})
    with pytest.raises(RowError, match="'train_detail' marks parts of a row"):
        read({"messages": TURNS, "train_detail": [{"begin_offset": 0}]})


def test_steps_that_are_judged_are_no_ranking() -> None:
    row = {"prompt": "q", "completions": ["one", "two"], "labels": [True, False]}
    with pytest.raises(CorpusError, match="'labels' judges each of a list of texts, which are steps of one answer"):
        read(row)
    with pytest.raises(RowError, match="steps of one answer and no ranking"):
        read(row, format="ranked")


def test_which_answer_is_empty_is_said() -> None:
    for name in ("chosen", "rejected"):
        with pytest.raises(RowError, match=f"^empty turn: turn 2 of {name}$"):
            read({"prompt": "q", "chosen": "a", "rejected": "b", name: " "})


def test_turns_under_a_name_of_their_own_are_named_by_columns() -> None:
    row = {"dlg": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
    for declared in ({}, {"format": "sharegpt"}, {"format": "chatml"}):
        assert said(read(row, columns={"messages": "dlg"}, **declared)) == SAID
    with pytest.raises(CorpusError, match=r"write rows: dlg; if it holds turns, columns: \{messages: dlg\}"):
        read(row)


def test_a_setting_that_is_there_is_not_advised() -> None:
    twice = {"messages": [*TURNS, {"role": "assistant", "content": "b"}]}
    with pytest.raises(RowError, match=r"turns: \{same_role: join\}"):
        read(twice)
    assert said(read(twice, turns={"same_role": "join"}))[1] == ("assistant", "a\n\nb")
    twice["messages"][2]["weight"] = 0
    for turns in ({}, {"same_role": "join"}):
        with pytest.raises(RowError, match=r"not of the user \(same_role: join joins turns of words alone"):
            read(twice, turns=turns)


@pytest.mark.parametrize(
    ("declared", "name"),
    [({}, "label"), ({}, "thumb"), ({"columns": {"label": "state"}}, "state"), ({"columns": {"label": "s.t"}}, "s.t")],
)
def test_other_words_that_judge_are_what_the_recipe_says(declared: dict[str, Any], name: str) -> None:
    def row(value: Any) -> dict[str, Any]:
        return {"prompt": "q", "completion": "a", **({"s": {"t": value}} if "." in name else {name: value})}

    labels = {"Resolved": True, "escalated": False, "5": True, "1": False}
    for value, good in (("resolved", True), (" ESCALATED", False), (5, True), (1.0, False), ("yes", True)):
        found = read(row(value), format="unpaired", labels=labels, **declared)
        assert (found.label, found.completion[0]["content"]) == (good, "a"), value
    with pytest.raises(RowError, match="says neither good nor bad"):
        read(row("open"), format="unpaired", labels=labels, **declared)


def test_words_that_the_recipe_calls_judgements_are_no_classes() -> None:
    rows = [Row("a.jsonl", n, 0, {"prompt": "q", "completion": "a", "label": w}, b"") for n, w in enumerate(("x", "w"))]
    assert choose_format(source("a.jsonl"), None, rows)[0].name == "prompt_completion"
    assert choose_format(source("a.jsonl", labels={"x": True, "w": False}), None, rows)[0].name == "unpaired"


CHAT = json.dumps(TURNS)


@pytest.mark.parametrize(
    ("row", "asked", "answered"),
    [
        ({"instruction": "Write a chat.", "output": CHAT}, "Write a chat.", CHAT),
        ({"prompt": "Write a chat.", "completion": CHAT}, "Write a chat.", CHAT),
        ({"question": CHAT, "answer": "It greets."}, CHAT, "It greets."),
        ({"prompt": json.dumps([TURNS[0]]), "completion": json.dumps([TURNS[1]])}, "q", "a"),
        ({"prompt": '{"a": 1, "a": 2}', "completion": "A key twice."}, '{"a": 1, "a": 2}', "A key twice."),
    ],
)
def test_json_text_of_turns_is_turns_where_turns_belong_and_words_elsewhere(
    row: dict[str, Any], asked: str, answered: str
) -> None:
    assert said(read(row)) == [("user", asked), ("assistant", answered)]


def test_an_object_that_is_none_of_the_row_s_turns_says_nothing_of_it() -> None:
    about = {"messages": TURNS, "system": "Other.", "tools": [{"name": "g"}]}
    for held in (about, json.dumps(about)):
        found = read({**talk("q", "a"), "metadata": held})
        assert said(found) == SAID and found.tools is None


@pytest.mark.parametrize("beside", [{"train": False}, {"weight": 0}, {"label": "bad"}, {"images": ["a.png"]}])
def test_what_is_heard_of_a_row_alone_is_not_overheard_inside_an_object(beside: dict[str, Any]) -> None:
    for held in ({**talk("q", "a"), **beside}, json.dumps({**talk("q", "a"), **beside})):
        with pytest.raises(RowError, match=r"inside field 'messages' is not heard there: write it beside"):
            read({"messages": held}, format="chatml")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[{"role": "user", "content": "x", "content": "y"}, {"role": "assistant", "content": "a"}]', "a key twice"),
        ('[{"role": "user", "content": "\\ud800"}, {"role": "assistant", "content": "a"}]', "half of a surrogate pair"),
    ],
)
def test_json_text_of_turns_is_read_as_strictly_as_a_row(text: str, reason: str) -> None:
    with pytest.raises(RowError, match=rf"{reason}.*: field 'messages'"):
        read({"messages": text}, format="chatml")


F, G = ({"function": {"name": name, "arguments": "{}"}} for name in "fg")


@pytest.mark.parametrize(
    "turn",
    [
        {"content": "", "tool_calls": [F], "function_call": G["function"]},
        {"content": [{"type": "tool_call", "tool_call": F["function"]}], "tool_calls": [G]},
        {"role": "function_call", "content": json.dumps(F["function"]), "tool_calls": [G]},
    ],
)
def test_calls_in_two_places_are_the_same_or_refused(turn: dict[str, Any]) -> None:
    with pytest.raises(RowError, match="calls twice, which differ: turn 2"):
        read({"messages": [TURNS[0], {"role": "assistant", **turn}]})
    same = json.loads(json.dumps(turn).replace('"g"', '"f"').replace('\\"g\\"', '\\"f\\"'))
    found = read({"messages": [TURNS[0], {"role": "assistant", **same}]})
    assert found.messages[1]["tool_calls"] == '[{"name": "f", "arguments": {}}]'


@pytest.mark.parametrize(
    "turn",
    [
        {"content": "", "tool_calls": json.dumps([{**F, "weight": 0}])},
        {"content": "", "tool_calls": [json.dumps({**F, "weight": 0})]},
        {"content": "", "tool_calls": [{"function": json.dumps({**F["function"], "weight": 0})}]},
        {"content": "", "function_call": {**F["function"], "weight": 0}},
        {"content": [{"type": "tool_call", "tool_call": json.dumps({**F["function"], "weight": 0})}]},
        {"role": "function_call", "content": json.dumps({**F["function"], "weight": 0})},
        {"role": "function_call", "content": json.dumps(F["function"]), "weight": 0},
        {"content": '<tool_call>{"name": "f", "arguments": {}}</tool_call>', "weight": 0},
        {"content": '<tool_call>{"name": "f", "arguments": {}, "weight": 0}</tool_call>'},
    ],
)
def test_a_call_that_is_not_to_be_learned_says_so_in_any_form(turn: dict[str, Any]) -> None:
    found = read({"messages": [*TURNS, TURNS[0], {"role": "assistant", **turn}]})
    assert [message.get("weight") for message in found.messages] == [None, None, None, "0"]
    assert found.messages[3]["tool_calls"] == '[{"name": "f", "arguments": {}}]'


def test_answers_in_rows_with_tags_keep_their_marks() -> None:
    call = '<tool_call>{"name": "f", "arguments": {}}</tool_call>'
    turns = [TURNS[0], {**TURNS[1], "weight": 0}, TURNS[0], {"role": "assistant", "content": call}]
    assert [message.get("weight") for message in read({"messages": turns}).messages] == [None, "0", None, None]


def test_calls_are_not_the_user_s_and_thoughts_come_before_what_is_said_or_called() -> None:
    with pytest.raises(RowError, match="thoughts or calls that are not of the assistant: turn 1"):
        read({"messages": [{**TURNS[0], "function_call": F["function"]}, TURNS[1]]})
    text, thought = {"type": "text", "text": "a"}, {"type": "thinking", "thinking": "hm"}
    call = {"type": "tool_call", "tool_call": F["function"]}
    for parts, reason in (([text, thought], "thoughts between words"), ([call, text], "words behind a call")):
        with pytest.raises(RowError, match=f"{reason}: turn 2"):
            read({"messages": [TURNS[0], {"role": "assistant", "content": parts}]})
    written = {"role": "function_call", "content": json.dumps(F["function"]), "reasoning": "hm"}
    assert read({"messages": [TURNS[0], written]}).messages[1]["content"] == "<think>\nhm\n</think>"


@pytest.mark.parametrize("name", ["arguments", "parameters", "input", "args"])
def test_arguments_of_a_call_have_several_names(name: str) -> None:
    call = {"name": "f", name: {"a": 1}}
    found = read({"messages": [TURNS[0], {"role": "assistant", "content": "", "tool_calls": [call]}]})
    assert json.loads(found.messages[1]["tool_calls"]) == [{"name": "f", "arguments": {"a": 1}}]


def test_functions_in_two_fields_are_the_same_or_refused() -> None:
    assert read({**talk("q", "a"), "tools": [{"name": "f"}], "functions": '[{"name": "f"}]'}).tools == '[{"name": "f"}]'
    with pytest.raises(RowError, match="functions twice, which differ: in tools and functions"):
        read({**talk("q", "a"), "tools": [{"name": "f"}], "functions": [{"name": "g"}]})


def test_a_prompt_beside_whole_conversations_is_theirs() -> None:
    pair = {"chosen": TURNS, "rejected": talk("q", "b")["messages"]}
    assert read({"prompt": " q\n", **pair}).prompt == [TURNS[0]]
    with pytest.raises(RowError, match="another prompt than the one in field 'chosen'"):
        read({"prompt": "What is B?", **pair})


def test_a_list_of_steps_is_no_ranking_however_its_labels_are_written() -> None:
    row = {"prompt": "q", "completions": ["one", "two", "three"]}
    for labels in ([True], "[true, false, true]"):
        with pytest.raises(RowError, match="steps of one answer"):
            read({**row, "labels": labels}, format="ranked")


def test_openai_s_preferences_say_one_thing_of_their_prompt() -> None:
    outputs = {name: [{"role": "assistant", "content": name}] for name in ("preferred_output", "non_preferred_output")}
    asked = {"messages": [TURNS[0]], "tools": [{"name": "f"}]}
    for given in (asked, json.dumps(asked)):
        assert read({"input": given, **outputs}).tools == '[{"name": "f"}]'
        with pytest.raises(RowError, match="'tools' in field 'input' is another one than beside it"):
            read({"input": given, **outputs, "tools": [{"name": "g"}]})


def test_settings_for_whole_conversations_leave_prompts_and_answers_alone() -> None:
    cut = {"opening": "drop", "last_user": "drop"}
    answer = [TURNS[1]]
    assert said(read({"question": [TURNS[0]], "answer": answer}, turns=cut)) == SAID
    assert said(read({"inputs": [TURNS[0]], "targets": answer}, turns=cut)) == SAID
    pair = read({"conversations": [TURNS[0]], "chosen": TURNS[1], "rejected": {**TURNS[1], "content": "b"}}, turns=cut)
    assert (pair.prompt, pair.chosen) == ([TURNS[0]], answer)


def test_neighbours_with_ids_of_their_own_are_joined() -> None:
    turns = [{**TURNS[0], "id": 1}, {**TURNS[0], "id": 2, "timestamp": "x"}, TURNS[1]]
    assert said(read({"messages": turns}, turns={"same_role": "join"})) == [("user", "q\n\nq"), SAID[1]]


def test_results_stand_in_the_order_of_their_calls_where_ids_say_whose_they_are() -> None:
    calls = [{**F, "id": "1"}, {**F, "id": "2"}, {**G, "id": "3"}]
    results = [{"role": "tool", "content": f"r{one}", "tool_call_id": str(one)} for one in (3, 1, 2)]
    turns = [TURNS[0], {"role": "assistant", "content": "", "tool_calls": calls}, *results, TURNS[1]]
    found = read({"messages": turns}).messages[2:5]
    assert [(message["content"], message["name"]) for message in found] == [("r1", "f"), ("r2", "f"), ("r3", "g")]
    for reason, first in (
        ("a result of no call before it: turn 3", {"tool_call_id": "9"}),
        ("a result of another function than the call that its id names: turn 3", {"name": "f"}),
    ):
        with pytest.raises(RowError, match=reason):
            read({"messages": [*turns[:2], {**results[0], **first}, *results[1:], TURNS[1]]})
    for ids in (str, int):  # of a call or of its result, or both
        numbered = [{**call, "id": ids(call["id"])} for call in calls]
        for written in (numbered, json.dumps(numbered), [json.dumps(call) for call in numbered]):
            told = [{**result, "tool_call_id": int(result["tool_call_id"])} for result in results]
            for own in (results, told, told[:2]):
                row = {"messages": [TURNS[0], {**turns[1], "tool_calls": written}, *own, TURNS[1]]}
                assert [m["content"] for m in read(row).messages[2:-1]] == ["r1", "r2", "r3"][
                    :: 1 if len(own) == 3 else 2
                ]
    same = [{**calls[0], "id": "1"}, {**G, "id": "1"}]
    row = {"messages": [TURNS[0], {**turns[1], "tool_calls": same}, *(results[1:2] * 2), TURNS[1]]}
    assert [message.get("name") for message in read(row).messages[2:4]] == [None, None], (
        "one id for two calls says none"
    )


def test_columns_beside_a_format_that_rows_tell_are_read() -> None:
    row = {**talk("q", "a"), "rules": "Be brief.", "api": {"fns": [{"name": "f"}]}}
    found = read(row, columns={"system": "rules", "tools": "api.fns"})
    assert said(found)[0] == ("system", "Be brief.") and found.tools == '[{"name": "f"}]'
    asked = {"ask": "q", "completion": "a"}
    assert said(read(asked, columns={"prompt": "ask"})) == SAID


def test_turns_at_a_dotted_path_are_read_as_the_recipe_says() -> None:
    row = {"log": {"turns": [{"who": "customer", "what": "q"}, {"who": "agent", "what": "a"}]}}
    turns = {"role": "who", "content": "what", "roles": {"customer": "user", "agent": "assistant"}}
    assert said(read(row, columns={"messages": "log.turns"}, turns=turns)) == SAID
    held = {"log": {"chat": {**talk("q", "a"), "tools": [{"name": "f"}]}}}
    assert read(held, columns={"messages": "log.chat"}).tools == '[{"name": "f"}]'


def test_why_no_row_can_be_read_is_said() -> None:
    with pytest.raises(
        CorpusError, match=r"none of its first rows can be read; a\.jsonl:1: a key twice .*: field 'mess"
    ):
        read({"messages": '[{"role": "user", "role": "user", "content": "q"}]'})


def test_an_answer_without_an_end_of_its_tags_is_not_joined_into_thoughts() -> None:
    turns = [TURNS[0], {**TURNS[1], "content": "hm"}, {**TURNS[1], "content": "</think>\nyes"}]
    with pytest.raises(RowError, match="roles out of order"):
        read({"messages": turns}, turns={"same_role": "join"})


def test_numbers_beside_a_list_of_answers_judge_it() -> None:
    row = {"prompt": "q", "responses": ["bad", "good"]}
    for name in ("score", "rating", "overall_score", "scores"):
        found = read({**row, name: [0.1, 0.9]})
        assert [answer["messages"][0]["content"] for answer in found.answers] == ["good", "bad"]
    for unknown in ({"reward_scores": [0.1, 0.9]}, {"correct": [False, True]}, {"grades": "[1, 5]"}, {"scores": [1]}):
        with pytest.raises(CorpusError, match="fit no known format"):
            read({**row, **unknown})
    assert [answer["score"] for answer in read(row).answers] == [1.0, 0.0]
    for weight in (0, 0.5):
        with pytest.raises(RowError, match="an answer that says that it is not to be learned, or counts in part"):
            read({"prompt": "q", "answers": [{"text": "a", "rating": 1, "weight": weight}, {"text": "b", "rating": 2}]})


def test_a_name_that_a_dotted_path_leads_through_is_left_to_it() -> None:
    for row in ({"data": talk("q", "a")}, {"data": {"messages": CHAT}}):
        assert said(read(row, columns={"messages": "data.messages"})) == SAID


def test_functions_in_an_object_are_compared_as_functions() -> None:
    held = {**talk("q", "a"), "tools": [{"type": "function", "function": {"name": "f"}}], "system": "Be brief. "}
    found = read({"messages": held, "tools": '[{"name": "f"}]', "system": "Be brief."})
    assert found.tools == '[{"name": "f"}]' and said(found)[0] == ("system", "Be brief.")


def test_roles_of_a_source_are_meant_in_openai_s_preferences_too() -> None:
    outputs = {name: [{"role": "assistant", "content": name}] for name in ("preferred_output", "non_preferred_output")}
    row = {"input": {"messages": [{"role": "customer", "content": "q"}]}, **outputs}
    assert read(row, turns={"roles": {"customer": "user"}}).prompt == [TURNS[0]]


def test_calls_that_are_nested_too_deeply_are_refused() -> None:
    deep = '{"a": ' * 200 + "1" + "}" * 200
    call = {"name": "f", "arguments": deep}
    with pytest.raises(RowError, match="nested too deeply: the tool calls of turn 2"):
        read({"messages": [TURNS[0], {"role": "assistant", "content": "", "tool_calls": [call]}]})


def test_who_answered_is_no_answer() -> None:
    with pytest.raises(CorpusError, match="fit no known format"):
        read({"conversation": [{"user": "q", "model": "gpt-4"}]})
