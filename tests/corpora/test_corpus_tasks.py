"""Tasks of a step: the same results from any number of workers, nothing done twice, errors told once."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from corpora.work.run import run_tasks
from lineage.errors import CorpusError
from lineage.files import atomically
from recipes.execution import CorporaExecution

ONE, TWO = CorporaExecution(workers=1), CorporaExecution(workers=2)


def squared(value: tuple[Path, int]) -> dict[str, int]:
    folder, number = value
    with (folder / "runs").open("a") as runs:
        runs.write(f"{number}\n")
    with atomically(folder / f"{number}.txt") as path:
        path.write_text(str(number * number))
    return {"square": number * number, "process": os.getpid()}


def refusing(number: int) -> int:
    if number == 1:
        raise CorpusError("two.jsonl: line 2 is no use; mend it")
    return number


def killed(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("execution", [ONE, TWO])
def test_results_come_in_the_order_of_the_tasks(execution: CorporaExecution, tmp_path: Path) -> None:
    results = run_tasks("squares", squared, [(tmp_path, n) for n in range(5)], execution, tmp_path)
    assert [result["square"] for result in results] == [0, 1, 4, 9, 16]
    assert [(tmp_path / f"{n}.txt").read_text() for n in range(5)] == ["0", "1", "4", "9", "16"]
    elsewhere = {result["process"] for result in results} != {os.getpid()}
    assert elsewhere == (execution is TWO)


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    values = [(tmp_path, n) for n in range(3)]
    first = run_tasks("squares", squared, values[:2], ONE, tmp_path)
    assert run_tasks("squares", squared, values, ONE, tmp_path)[:2] == first
    assert (tmp_path / "runs").read_text().split() == ["0", "1", "2"]


@pytest.mark.parametrize("execution", [ONE, TWO])
def test_the_error_of_a_task_is_the_error_of_the_step(execution: CorporaExecution, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"^two\.jsonl: line 2 is no use; mend it$"):
        run_tasks("refusing", refusing, [0, 1, 2], execution, tmp_path)


def test_a_worker_that_is_ended_from_outside_is_told_plainly(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"^killing: a worker process was ended .* set corpora.workers, now 2, lower"):
        run_tasks("killing", killed, [0, 1], TWO, tmp_path)


def test_a_file_that_was_not_finished_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), atomically(tmp_path / "half") as path:
        path.write_text("half")
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


_STEP = """
import os, sys, time
from pathlib import Path
from corpora.work.run import run_tasks
from recipes.execution import CorporaExecution
from tests.corpora.test_corpus_tasks import waiting

if __name__ == "__main__":
    work = Path(sys.argv[1])
    run_tasks("waiting", waiting, [work / "0", work / "1"], CorporaExecution(workers=2), work)
"""


def waiting(path: Path) -> None:
    path.write_text(str(os.getpid()))
    time.sleep(60)


def test_workers_do_not_outlive_a_killed_step(tmp_path: Path) -> None:
    script = tmp_path / "step.py"
    script.write_text(_STEP)
    root = Path(__file__).parents[2]
    step = subprocess.Popen([sys.executable, script, tmp_path], cwd=root, env={**os.environ, "PYTHONPATH": str(root)})
    notes = [tmp_path / str(n) for n in range(2)]
    _until(lambda: all(note.is_file() and note.read_text() for note in notes))
    step.kill()
    step.wait()
    _until(lambda: not any(Path(f"/proc/{note.read_text()}").exists() for note in notes))


def _until(holds, seconds: float = 20) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)
