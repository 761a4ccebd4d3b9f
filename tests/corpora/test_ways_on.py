"""Where a row cannot be read as it is, there is a word that helps: settings, columns, messages that name them."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from corpora.formats.formats import choose_format, reader
from corpora.reading.row import Row, RowError
from lineage.errors import CorpusError
from orchestration.command import main
from recipes.errors import RecipeError
from recipes.load import load_recipe, read_yaml
from tests.assets.made_pipeline import write_recipe
from tests.corpora.made import source, talk, write_jsonl
from tests.corpora.made_duplicates import prose

U, A = ({"role": role, "content": words} for role, words in (("user", "q"), ("assistant", "a")))


def read(value: dict[str, Any], **fields: Any) -> Any:
    row, own = Row("a.jsonl", 1, 0, value, b""), source("a.jsonl", **fields)
    [item] = reader(own, choose_format(own, None, [row])[0])(row)
    return item


def said(item: Any) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in item.messages]


def test_thoughts_and_what_a_prompt_is_about_may_stand_in_columns_of_their_own() -> None:
    row = {"Question": "Sum?", "Passage": "1 and 2", "Complex_CoT": "I add.", "Response": "3"}
    columns = {"prompt": "Question", "completion": "Response"}
    assert said(read(row, columns=columns)) == [("user", "Sum?"), ("assistant", "3")]
    found = said(read(row, columns={**columns, "input": "Passage", "reasoning": "Complex_CoT"}))
    assert found == [("user", "Sum?\n1 and 2"), ("assistant", "<think>\nI add.\n</think>\n\n3")]
    assert said(read({**row, "Passage": None}, columns={**columns, "input": "Passage"}))[0] == ("user", "Sum?")
    with pytest.raises(RowError, match="field 'Passage' is not text"):
        read({**row, "Passage": [1]}, columns={**columns, "input": "Passage"})
    with pytest.raises(ValueError, match=r"columns.input is what columns.prompt is about"):
        source("a.jsonl", columns={"input": "Passage"})
    with pytest.raises(ValueError, match=r"columns.messages are whole conversations"):
        source("a.jsonl", columns={"messages": "dialog", "completion": "Response"})


def test_a_key_that_no_turn_has_is_named() -> None:
    row = {"messages": [{**U, "edited": "Q"}, {**A, "edited": "A"}]}
    assert said(read(row, turns={"content": "edited"})) == [("user", "Q"), ("assistant", "A")]
    for setting in ("role", "content"):
        with pytest.raises(
            CorpusError, match=rf"turns\.{setting} names the key 'edted', which is nowhere in its first 1"
        ):
            read(row, format="chatml", turns={setting: "edted"})
    called = {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]}
    pair = {"prompt": [{"role": "user", "text": "hi"}], "chosen": [called], "rejected": [{**U, "role": "assistant"}]}
    pair["rejected"][0]["text"] = pair["rejected"][0].pop("content")
    beside = {**pair, "log": [{"role": "x", "content": "y"}]}
    assert read(beside, turns={"content": "text"}).prompt == [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize("write", [str, lambda turns: str(turns).replace(", {", "\n {")])
def test_turns_that_python_wrote_into_a_table_are_read(write: Any) -> None:
    assert said(read({"messages": write([U, {**A, "content": "it's so"}])})) == [
        ("user", "q"),
        ("assistant", "it's so"),
    ]
    with pytest.raises(CorpusError):
        read({"messages": "[{'role': __import__('os')}]"})


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        ({"type": "image_url", "image_url": {"url": "x"}}, "holds images, which a text model cannot see: turn 1"),
        ({"type": "input_audio", "input_audio": {}}, "holds sound, which a text model cannot hear: turn 1"),
        ({"type": "tool_result", "content": "3"}, r"no? ?a part that is not text.*: tool_result, turn 1"),
    ],
)
def test_a_part_that_is_no_text_is_named(part: dict[str, Any], reason: str) -> None:
    with pytest.raises(RowError, match=reason.removeprefix("no? ?")):
        read({"messages": [{"role": "user", "content": [{"type": "text", "text": "q"}, part]}, A]})


def test_thoughts_in_parts_of_parts_are_read() -> None:
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "a"}]
    assert said(read({"messages": [U, {**A, "content": parts}]}))[1][1] == "<think>\nhm\n</think>\n\na"


def test_of_toolace_what_asks_for_calls_in_its_own_form_is_left_out() -> None:
    functions = '[{"name": "w", "parameters": {"type": "dict"}}]'
    own = (
        "You are an expert. If none can be used, point it out.\n\nHere is a list of functions in JSON format that you "
        f"can invoke:\n{functions}. \nShould you decide to return the function call(s).\nPut it in the format of "
        "[func1(params_name=params_value, params_name2=value...), func2(params)]\n\nNO other text MUST be included."
    )
    turns = [{"from": "user", "value": "do 1"}, {"from": "assistant", "value": "[w(c=1)]"}]
    found = said(read({"system": own, "conversations": turns}))[0][1]
    assert found == (
        "You are an expert. If none can be used, point it out.\n\n"
        "Should you decide to return the function call(s).\n\nNO other text MUST be included."
    )


def test_messages_name_the_setting_that_helps() -> None:
    with pytest.raises(CorpusError, match="write format: prompts"):
        read({"prompt": "q", "id": "x"})
    with pytest.raises(RowError, match=r"said by labels in the source, as in labels: \{resolved: true"):
        read({"prompt": "q", "completion": "a", "label": "meh"}, format="unpaired")
    with pytest.raises(RowError, match=r"neither a or b .*nor tie, both or equal"):
        read({"prompt": "q", "response_a": "x", "response_b": "y", "winner": "2"})


def test_a_file_that_a_recipe_names_and_is_not_there_is_found_by_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_jsonl(tmp_path / "chat.jsonl", [talk("q", "a")])
    write_jsonl(tmp_path / "pairs.jsonl", [{"prompt": "q", "chosen": "a", "rejected": "b"}])
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "model.safetensors").write_bytes(b"")
    path = write_recipe(tmp_path, model={"uri": "base", "chat_template": "nope.jinja"})
    assert main(["check", str(path)]) == 2
    assert f"model.chat_template: no such file: {tmp_path / 'nope.jinja'}" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["2025-13-01", "0b12", "2026-02-30"])
def test_a_value_that_python_does_not_take_is_placed(tmp_path: Path, value: str) -> None:
    (tmp_path / "a.yaml").write_text(f"model:\n  date: {value}\n")
    if value == "0b12":
        assert read_yaml(tmp_path / "a.yaml") == {"model": {"date": value}}
        return
    with pytest.raises(RecipeError, match=rf"a\.yaml:2:9: {value}: "):
        read_yaml(tmp_path / "a.yaml")


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of one object with turns in words of its own."""
    monkeypatch.setenv("TEMPER_HOME", str(tmp_path / "home"))
    rows = [
        {"dialog": [{"who": "customer", "what": " ".join(prose(n, 30))}, {"who": "agent", "what": f"Done {n}."}]}
        for n in range(120)
    ]
    (tmp_path / "calls.json").write_text(json.dumps({"version": 1, "data": rows}))
    return tmp_path / "calls.json"


SETTINGS = ["rows=data", "columns.messages=dialog", "turns.role=who", "turns.content=what"]
SETTINGS += ["turns.roles.customer=user", "turns.roles.agent=assistant"]
SET = [part for setting in SETTINGS for part in ("--set", setting)]


def test_settings_of_a_source_may_be_tried_and_written(calls: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(calls), *SET]) == 0
    assert "120 read, 120 good" in capsys.readouterr().out
    path = calls.parent / "bot.yaml"
    asked = ["new", str(path), "--data", str(calls), "--model", "smollm2", "--device", "cpu"]
    assert main(asked) != 0 and "--set rows=data" in capsys.readouterr().err
    assert main([*asked, *SET]) == 0
    written = yaml.safe_load(path.read_text())["sources"]["calls"]
    assert written["rows"] == "data" and written["turns"]["roles"] == {"customer": "user", "agent": "assistant"}
    assert load_recipe(path).sources["calls"].columns.messages == "dialog"


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("rows", "a setting is NAME=VALUE"),
        ("turns.same_role=joyn", "turns.same_role: Input should be 'refuse' or 'join'"),
        ("colums.messages=x", "colums: Extra inputs"),
        ("uri=x", "are given otherwise"),
        ("columns.=x", "a setting is NAME=VALUE"),
    ],
)
def test_a_setting_that_is_none_is_named(
    calls: Path, capsys: pytest.CaptureFixture[str], setting: str, problem: str
) -> None:
    assert main(["inspect", str(calls), "--set", setting]) != 0
    assert problem in capsys.readouterr().err
