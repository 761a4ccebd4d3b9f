"""Which tasks of the pinned reasoning-gym run what they are sent: told by what is left behind, not by reading them."""

import subprocess
import sys
from pathlib import Path

import pytest

from corpora.verifiers.verifiers import scores, verifier_of
from recipes.gym_tasks import ALLOWED, REFUSED
from tests.corpora import hostile_answers

_SECONDS = 60
"""For one task; all of them take 13."""


def _tried(tasks: list[str], folder: Path) -> list[str]:
    """The tasks that ran something."""
    command = [sys.executable, hostile_answers.__file__, str(folder), *tasks]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={}) as process:
        try:
            done, _ = process.communicate(timeout=_SECONDS + len(tasks))
        finally:
            process.kill()
    assert done.split() == tasks
    return sorted(mark.name for mark in folder.iterdir())


def test_only_refused_tasks_run_an_answer_or_a_row(tmp_path: Path) -> None:
    from reasoning_gym.factory import DATASETS

    assert set(DATASETS) == ALLOWED | set(REFUSED), "a task that was not tried yet, or is there no more"
    ran = _tried(sorted(DATASETS), tmp_path)
    assert set(ran) == set(REFUSED) - {"codeio"}, "codeio runs its own programs, to make problems"


@pytest.mark.parametrize("task", [*sorted(REFUSED), "no_such_task", "chain_sum\n", 7, None])
def test_a_refused_task_is_not_scored_whoever_names_it(tmp_path: Path, task: object) -> None:
    mark = tmp_path / "mark"
    answer = f"open({str(mark)!r}, 'w') * 0 + 7"
    entry = {"question": "What is 3 + 4?", "answer": answer, "metadata": {}}
    row = {"task": task, "arguments": {}, "question": entry["question"], "answer": answer, "entry": entry}
    with pytest.raises(ValueError, match="field 'task': "):
        verifier_of(row)
    with pytest.raises(ValueError, match=r"refused: |tried and allowed|is a text"):
        scores([(row, answer)])
    assert not mark.exists()
