"""Code is run nowhere but in a sandbox that holds, and for nobody who has not asked for it."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from evaluation.task import Place
from evaluation.tasks import code, sandbox
from lineage.errors import EvaluationError
from recipes.suite import CodeTask
from tests.evaluation.made_benchmarks import HUMANEVAL
from tests.evaluation.made_suite import write_rows

TASK = {"kind": "code", "data": {"uri": "problems.jsonl"}}


def test_a_recipe_must_allow_it() -> None:
    with pytest.raises(ValidationError, match="set allow_code_execution: true"):
        CodeTask.model_validate(TASK)


@pytest.mark.parametrize("ended", ["failed", "stopped"])
def test_a_sandbox_that_does_not_hold_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: sandbox.Ended
) -> None:
    write_rows(tmp_path / "problems.jsonl", HUMANEVAL)
    monkeypatch.setattr(sandbox, "run", lambda *_: ended)
    task = CodeTask.model_validate({**TASK, "allow_code_execution": True})
    with pytest.raises(EvaluationError, match=r"tasks\.code: a sandbox was made, but a program could break out"):
        code.prepare("code", task, Place(tmp_path, tmp_path, tmp_path))


def test_where_none_can_be_made_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    refusing = tmp_path / "confined.py"
    refusing.write_text(
        "import sys\nsys.stdin.read()\nprint('user namespaces: Operation not permitted', file=sys.stderr)\nsys.exit(2)"
    )
    stand_in: Any = type("Module", (), {"__file__": str(refusing)})
    monkeypatch.setattr(sandbox, "confined", stand_in)
    with pytest.raises(
        EvaluationError, match=r"no sandbox can be made here \(user namespaces: Operation not permitted\).*run as root"
    ):
        sandbox.probe(sandbox.Limits())
