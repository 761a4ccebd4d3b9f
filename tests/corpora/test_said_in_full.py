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
    with pytest.raises(CorpusError, match=r"If 'dlg' holds turns, say so, .*; if it is the list of rows, rows: dlg$"):
        read(row)


def test_a_setting_that_is_there_is_not_advised() -> None:
    twice = {"messages": [*TURNS, {"role": "assistant", "content": "b", "weight": 0}]}
    with pytest.raises(RowError, match="same_role: join"):
        read(twice)
    with pytest.raises(RowError, match=r"not of the user$"):
        read(twice, turns={"same_role": "join"})


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
