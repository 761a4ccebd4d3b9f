"""What names a suite, and what does not."""

from pathlib import Path

import pytest

from evaluation import suite
from evaluation.suite import suite_identity
from lineage.hashing import canonical_json
from recipes.suite import CodeTask
from tests.evaluation.made_suite import evaluation, write_data


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    write_data(folder)
    return folder


def test_a_suite_is_the_same_wherever_its_data_lies_and_whatever_it_reports_on(data: Path, tmp_path: Path) -> None:
    elsewhere = data.rename(tmp_path / "moved")
    (elsewhere / "harmful.txt").rename(elsewhere / "renamed.txt")
    tasks = evaluation().model_dump()["tasks"]
    tasks["harmful"]["data"]["uri"] = "renamed.txt"
    moved = evaluation(tasks=tasks, reports=["base", "sft"], execution={"threads": 7})
    before = tmp_path / "again"
    before.mkdir()
    write_data(before)
    ours = suite_identity(evaluation(), before, tmp_path / "cache")
    theirs = suite_identity(moved, elsewhere, tmp_path / "cache")
    assert {n: t["data_digest"] for n, t in ours["tasks"].items() if n != "harmful"} == {
        n: t["data_digest"] for n, t in theirs["tasks"].items() if n != "harmful"
    }
    assert {**ours, "tasks": None} == {**theirs, "tasks": None}


@pytest.mark.parametrize("change", [{"batch_size": 4}, {"dtype": "bfloat16"}, {"seed": 1}])
def test_what_changes_answers_changes_the_suite(data: Path, change: dict[str, object]) -> None:
    cache = data.parent / "cache"
    assert suite_identity(evaluation(), data, cache) != suite_identity(evaluation(**change), data, cache)


def test_another_byte_of_data_is_another_suite(data: Path) -> None:
    cache = data.parent / "cache"
    before = suite_identity(evaluation(), data, cache)
    with (data / "benign.json").open("a", encoding="utf-8") as file:
        file.write("\n")
    after = suite_identity(evaluation(), data, cache)
    assert before["tasks"]["benign"] != after["tasks"]["benign"]
    assert before["tasks"]["facts"] == after["tasks"]["facts"]


def test_an_identity_is_canonical_json_without_places(data: Path) -> None:
    text = canonical_json(suite_identity(evaluation(), data, data.parent / "cache"))
    assert str(data) not in text
    assert "uri" not in text


def test_a_kind_that_is_scored_in_another_way_changes_the_suites_that_have_it(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = data.parent / "cache"
    code = {"kind": "code", "data": {"uri": "benign.json"}, "allow_code_execution": True}
    with_code, without = evaluation(tasks={"code": code}), evaluation(("facts",))
    before = suite_identity(with_code, data, cache), suite_identity(without, data, cache)
    monkeypatch.setattr(CodeTask, "version", 1000)
    after = suite_identity(with_code, data, cache), suite_identity(without, data, cache)
    assert before[0] != after[0] and before[1] == after[1]
    assert suite.kind_versions(with_code) == {"code": 1000} and suite.kind_versions(without) == {}
