"""What a row says is not to be learned is never learned, and never in silence."""

from typing import Any

import pytest

from corpora.formats.formats import choose_format, reader
from corpora.reading.row import Row, RowError
from tests.corpora.made import source

_NO = [
    *({name: value} for name in ("loss", "train", "training") for value in (False, 0, 0.0, "false", "no")),
    *({name: value} for name in ("weight", "loss_weight", "loss_scale") for value in (0, 0.0, "0", False)),
    *({"masked": value} for value in (True, 1, "true")),
]
_YES: list[dict[str, Any]] = [
    *({name: value} for name in ("loss", "train", "training") for value in (True, 1, "true", None)),
    *({name: value} for name in ("weight", "loss_weight", "loss_scale") for value in (1, 1.0, "1", None)),
    *({"masked": value} for value in (False, 0, None)),
    {"train_detail": None},
]
_UNKNOWN: list[dict[str, Any]] = [
    {"loss": "maybe"},
    {"loss": 0.5},
    {"weight": -0.5},
    *({name: value} for name in ("weight", "loss_scale", "loss", "masked") for value in (-1, "-1", -1.0)),
    {"loss_weight": "nan"},
    {"loss_scale": 10.5},
    {"masked": [1]},
    {"train_detail": [{"train": False}]},
]


def talk(**marks: Any) -> list[dict[str, Any]]:
    """Marks are of the first answer; that what is asked is not learned needs no saying."""
    asked, again = ({"role": "user", "content": words, "loss": False, "weight": 0} for words in ("q", "again"))
    return [asked, {"role": "assistant", "content": "a", **marks}, again, {"role": "assistant", "content": "b"}]


def shared(**marks: Any) -> list[dict[str, Any]]:
    """The same as ShareGPT spells it."""
    names = {"role": "from", "content": "value"}
    roles = {"user": "human", "assistant": "gpt"}
    spelt = [{names.get(key, key): value for key, value in turn.items()} for turn in talk(**marks)]
    return [{**turn, "from": roles[turn["from"]]} for turn in spelt]


def read(value: dict[str, Any]) -> Any:
    row = Row("a.jsonl", 1, 0, value, b"")
    return reader(source("a.jsonl"), choose_format(source("a.jsonl"), None, [row])[0])(row)


@pytest.mark.parametrize("marks", _NO)
def test_a_turn_that_is_not_to_be_learned_stays_as_context(marks: dict[str, Any]) -> None:
    for value in ({"messages": talk(**marks)}, {"conversations": shared(**marks)}):
        [found] = read(value)
        assert [message.get("weight") for message in found.messages] == [None, "0", None, None]
        assert [message["content"] for message in found.messages] == ["q", "a", "again", "b"]
    call = {"id": "1", "function": {"name": "f", "arguments": {}}}
    called = {"role": "assistant", "content": ""}
    told = [{"role": "tool", "content": "1"}, {"role": "assistant", "content": "b"}]
    [found] = read({"messages": [talk()[0], {**called, "tool_calls": [{**call, **marks}] * 2}, *told]})
    assert [message.get("weight") for message in found.messages] == [None, "0", None, None]
    with pytest.raises(RowError, match="calls of which some are not to be learned: turn 2"):
        read({"messages": [talk()[0], {**called, "tool_calls": [{**call, **marks}, call]}, *told]})


@pytest.mark.parametrize("marks", _NO[:3])
def test_a_row_of_which_nothing_is_to_be_learned_is_refused(marks: dict[str, Any]) -> None:
    asked, answer = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
    unlearned = {**answer, "content": "b", **marks}
    for value in (
        {"messages": [asked, unlearned]},
        {"prompt": [asked], "chosen": [answer], "rejected": [unlearned]},
        {"prompt": [asked], "completion": [unlearned], "label": True},
    ):
        with pytest.raises(RowError, match="no turn of the assistant is to be learned"):
            read(value)


@pytest.mark.parametrize("marks", _YES)
def test_a_turn_that_says_that_it_is_learned_or_nothing_is_read(marks: dict[str, Any]) -> None:
    [found] = read({"messages": talk(**marks)})
    assert [found] == read({"conversations": shared(**marks)})
    says = None if None in marks.values() else "1"
    assert [message.get("weight") for message in found.messages] == [None, says, None, None]
    assert [message["content"] for message in found.messages] == ["q", "a", "again", "b"]


@pytest.mark.parametrize("marks", _UNKNOWN)
def test_what_is_not_understood_is_refused_by_name(marks: dict[str, Any]) -> None:
    [name] = marks
    with pytest.raises(RowError, match=f"'{name}'.*: turn 2"):
        read({"messages": talk(**marks)})


@pytest.mark.parametrize("marks", _NO)
def test_a_row_that_is_not_to_be_learned_is_refused(marks: dict[str, Any]) -> None:
    [name] = marks
    pair = {"prompt": "q", "chosen": "a", "rejected": "b"}
    for value in ({"messages": talk()}, {"instruction": "q", "output": "a"}, pair, {"text": "t"}):
        with pytest.raises(RowError, match=f"field '{name}' says that the row is not to be learned"):
            read({**value, **marks})


def test_a_measured_loss_of_a_row_is_no_word_about_learning() -> None:
    for marks in ({"loss": 2.31}, {"weight": 72}, {"train_detail": "x"}, {"training": "marathon"}):
        assert read({"prompt": "q", "completion": "a", **marks}) == read({"prompt": "q", "completion": "a"})


@pytest.mark.parametrize("name", ["weight", "loss_weight", "loss_scale"])
def test_a_turn_says_what_its_loss_is_multiplied_by(name: str) -> None:
    for value, written in ((0.5, "0.5"), ("0.25", "0.25"), (2, "2"), (10, "10"), (1e-3, "0.001")):
        for row in ({"messages": talk(**{name: value})}, {"conversations": shared(**{name: value})}):
            [found] = read(row)
            assert [message.get("weight") for message in found.messages] == [None, written, None, None]


def test_weights_of_call_turn_and_row_are_multiplied() -> None:
    call = {"id": "1", "function": {"name": "f", "arguments": {}}, "loss_scale": 0.5}
    called = {"role": "assistant", "content": "", "weight": 0.5, "tool_calls": [call, call]}
    told = [{"role": "tool", "content": "1"}, {"role": "assistant", "content": "b", "loss": False}]
    [found] = read({"messages": [talk()[0], called, *told], "loss_weight": 3})
    assert [message.get("weight") for message in found.messages] == [None, "0.75", None, "0"]
    called["tool_calls"] = [call, {**call, "loss_scale": 1}]
    with pytest.raises(RowError, match="calls of which some"):
        read({"messages": [talk()[0], called, *told]})


def test_a_row_says_what_its_loss_is_multiplied_by() -> None:
    alpaca = {"instruction": "q", "output": "a"}
    for row in ({"messages": talk()}, alpaca, {"prompt": "q", "completion": "a"}):
        [found] = read({**row, "weight": 0.5})
        assert {message.get("weight") for message in found.messages if message["role"] == "assistant"} == {"+0.5"}
        assert read({**row, "weight": 72}) == read(row), "kilograms, say"
    [found] = read({**alpaca, "loss_scale": 2})
    assert found.messages[-1]["weight"] == "+2"
    for value in (20, "much", -1.5):
        with pytest.raises(RowError, match="field 'loss_weight' is no weight from 0 to 10"):
            read({**alpaca, "loss_weight": value})
    with pytest.raises(RowError, match="field 'weight' is no weight from 0 to 10"):
        read({**alpaca, "weight": -1})
    named = source("a.jsonl", columns={"category": "weight"})
    row = Row("a.jsonl", 1, 0, {**alpaca, "weight": 0.5}, b"")
    assert reader(named, choose_format(named, None, [row])[0])(row) == read(alpaca), "the recipe says what it is"


def test_what_is_compared_has_no_weight() -> None:
    said = {"role": "assistant", "content": "b", "weight": 0.5}
    pair = {"prompt": "q", "chosen": "a", "rejected": "b"}
    for row in ({**pair, "weight": 0.5}, {**pair, "chosen": [said]}, {"text": "t", "loss_weight": 2}):
        with pytest.raises(RowError, match="a weight of the loss, which examples to imitate alone can have"):
            read(row)
