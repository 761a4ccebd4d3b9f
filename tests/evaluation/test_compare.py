"""`python -m evaluation compare`."""

import subprocess
import sys
from pathlib import Path

import pytest

from evaluation.compare import main
from evaluation.report import write_report
from tests.evaluation.made_reports import pair, report, samples


@pytest.fixture
def folders(tmp_path: Path) -> tuple[str, str]:
    """Report folders of a better checkpoint and of base."""
    base, candidate = pair()
    for name, one in (("base", base), ("dpo", candidate)):
        (tmp_path / name).mkdir()
        write_report(tmp_path / name, one)
    return str(tmp_path / "dpo"), str(tmp_path / "base")


def test_without_a_recipe_each_metric_is_compared(folders: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(list(folders)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["edgy/refusal_rate", "sums/accuracy"]


def test_other_items_are_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, n in (("a", 5), ("b", 6)):
        (tmp_path / name).mkdir()
        write_report(tmp_path / name, report(name, samples("sums/accuracy", [1] * n)))
    assert main([str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert "sums/accuracy: cannot be paired" in capsys.readouterr().out


def test_another_suite_is_noted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        made = report(name, samples("sums/accuracy", [1, 0, 1]), suite={"digest": name})
        write_report(tmp_path / name, made)
    assert main([str(tmp_path / "a"), str(tmp_path / "b")]) == 0
    assert capsys.readouterr().out.startswith("note: the suites differ")


def test_a_folder_that_is_no_report_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "evaluation", "compare", str(tmp_path), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"{tmp_path}: not a report")
    assert "Traceback" not in done.stderr


def test_a_file_that_is_no_job_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text("{}")
    command = [sys.executable, "-m", "evaluation", str(tmp_path / "job.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "not a job" in done.stderr
    assert "Traceback" not in done.stderr
