"""Function calls: found in what templates write, and compared as BFCL compares them."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from evaluation.task import Place
from evaluation.tasks import functions
from evaluation.tasks.functions import are_right, calls_in
from lineage.errors import EvaluationError
from models.answering import LoadedModel, Response
from models.local import load_model
from recipes.suite import FunctionsTask
from tests.evaluation.made_benchmarks import BFCL, BFCL_ANSWERS
from tests.evaluation.made_suite import write_rows
from tests.models.test_rendering import WITH_TOOLS

CALL = {"name": "clock.set_alarm", "arguments": {"hour": 7, "place": "Rome"}}
EXPECTED = BFCL_ANSWERS[0]["ground_truth"]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    write_rows(tmp_path / "asked.json", BFCL)
    write_rows(tmp_path / "answers.json", BFCL_ANSWERS)
    return Place(tmp_path, tmp_path / "cache", tmp_path)


def with_template(tiny_base: Path, folder: Path, template: str) -> LoadedModel:
    shutil.copytree(tiny_base, folder)
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    return load_model(folder, "float32", 4)


def the_task(**fields: Any) -> FunctionsTask:
    data = {"data": {"uri": "asked.json"}, "answers": {"uri": "answers.json"}}
    return FunctionsTask.model_validate({"kind": "functions", **data, **fields})


@pytest.mark.parametrize(
    "answer",
    [
        f"<tool_call>\n{json.dumps(CALL)}\n</tool_call>",
        f"Of course! [TOOL_CALLS] [{json.dumps(CALL)}]",
        json.dumps({"name": CALL["name"], "parameters": CALL["arguments"]}),
        json.dumps(
            {"type": "function", "function": {"name": CALL["name"], "arguments": json.dumps(CALL["arguments"])}}
        ),
        f"a {{brace}} and {json.dumps({'calls': [CALL]})} then words",
    ],
)
def test_a_call_is_found_however_templates_write_it(answer: str) -> None:
    assert calls_in(answer) == [CALL]


@pytest.mark.parametrize("answer", ["", "{", '{"name": "f"}', '{"name": "f", "arguments": "no JSON"}', "[" * 5000])
def test_what_is_no_call_is_none(answer: str) -> None:
    assert calls_in(answer) == []


@pytest.mark.parametrize(
    ("arguments", "right"),
    [
        ({"hour": 7, "place": "Rome"}, True),
        ({"hour": 7.0, "place": " ro-me ", "volume": 1}, True),
        ({"hour": 8, "place": "Rome"}, False),
        ({"hour": 7}, False),
        ({"hour": 7, "place": "Rome", "volume": 0.5}, False),
        ({"hour": 7, "place": "Rome", "colour": "red"}, False),
        ({"hour": "7", "place": "Rome"}, False),
        ({"hour": True, "place": "Rome"}, False),
    ],
)
def test_arguments_must_be_the_allowed_ones(arguments: dict[str, Any], right: bool) -> None:
    assert are_right([{"name": "clock.set_alarm", "arguments": arguments}], EXPECTED) is right


def test_calls_are_counted_and_may_come_in_any_order() -> None:
    expected = [{"f": {"a": [1]}}, {"f": {"a": [2]}}]
    one, two = ({"name": "f", "arguments": {"a": number}} for number in (1, 2))
    assert are_right([two, one], expected)
    assert not are_right([one, one], expected)
    assert not are_right([one], expected)
    assert are_right([], []) and not are_right([one], [])


def test_inner_lists_and_objects_are_compared_too() -> None:
    expected = [{"f": {"a": [["X y", 2]], "b": [{"k": ["v", "w"], "n": ["", 3]}], "c": [True]}}]
    assert are_right([{"name": "f", "arguments": {"a": ["xy", 2.0], "b": {"k": "W"}, "c": True}}], expected)
    assert not are_right([{"name": "f", "arguments": {"a": ["xy", 2], "b": {"k": "z"}, "c": True}}], expected)
    assert not are_right([{"name": "f", "arguments": {"a": ["xy"], "b": {"k": "v"}, "c": True}}], expected)
    assert not are_right([{"name": "f", "arguments": {"a": ["xy", 2], "b": {"k": "v"}, "c": 1}}], expected)


def test_requests_are_asked_in_the_templates_own_form(
    tiny_base: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = with_template(tiny_base, place.folder / "able", WITH_TOOLS)
    shown: list[str] = []

    def generate(_: Any, prompts: list[str], *_more: Any) -> list[Response]:
        shown.extend(prompts)
        texts = [f"<call>{json.dumps(CALL)}</call>", "Love is love."]
        return [Response(text, 9, 3, cut=False, finite=True) for text in texts]

    monkeypatch.setattr(functions, "generate", generate)
    outcome = functions.prepare("tools", the_task(), place).run(model, lambda done: None)
    assert [sample["score"] for sample in outcome.samples] == [1, 1]
    assert [sample["subgroup"] for sample in outcome.samples] == ["simple_python", "irrelevance"]
    assert outcome.details == {"answers without a call": 1}
    assert '"type": "object"' in shown[0] and '"type": "number"' in shown[0] and '"dict"' not in shown[0]
    assert "Be brief." in shown[1]


def test_a_template_without_tools_is_refused_before_the_first_token(
    tiny_base: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(functions, "generate", lambda *_: pytest.fail("a token was generated"))
    prepared = functions.prepare("tools", the_task(), place)
    with pytest.raises(EvaluationError, match="function calls need a chat template with tools"):
        prepared.run(load_model(tiny_base, "float32", 4), lambda done: None)
    otherwise = WITH_TOOLS.replace(
        "{{ c.function | tojson }}", "{{ c.function.name }}: {{ c.function.arguments | tojson }}"
    )
    with pytest.raises(EvaluationError, match="chat template writes them otherwise"):
        prepared.run(with_template(tiny_base, place.folder / "other", otherwise), lambda done: None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"question": [[], []]}, "requests of several turns are not scored"),
        ({"question": [[{"role": "user"}]]}, "expected text in field 'content'"),
        ({"function": "f"}, "expected 1 or more of dict in field 'function'"),
        ({"id": "simple_python_9"}, "in the answer of id 'simple_python_9'"),
    ],
)
def test_a_row_that_is_no_request_is_named(place: Place, change: dict[str, Any], message: str) -> None:
    write_rows(place.folder / "asked.json", [{**BFCL[0], **change}])
    with pytest.raises(EvaluationError, match=rf"tasks\.tools\.data: row 1: .*{message}"):
        functions.prepare("tools", the_task(), place)
