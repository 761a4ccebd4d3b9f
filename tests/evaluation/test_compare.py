"""`temper compare`."""

import subprocess
import sys
from pathlib import Path

import pytest

from evaluation.report import write_report
from orchestration.command import main
from tests.assets.made_pipeline import write_recipe
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
    assert main(["compare", *folders]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["edgy/refusal_rate", "sums/accuracy"]


def test_other_items_are_not_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, n in (("a", 5), ("b", 6)):
        (tmp_path / name).mkdir()
        write_report(tmp_path / name, report(name, samples("sums/accuracy", [1] * n)))
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b")]) == 2
    assert "sums/accuracy: cannot be paired" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("part", "change", "name"),
    [
        ("suite", {"digest": "another"}, "suite"),
        ("suite", {"tasks": {"sums": {"kind": "verifier", "data_digest": "another"}}}, "data of sums"),
        ("subject", {"template_sha256": "another"}, "chat template"),
        ("runtime", {"dtype": "float32"}, "dtype (bfloat16 and float32)"),
        ("runtime", {"backend": "vllm"}, "backend (hf and vllm)"),
    ],
)
def test_reports_made_otherwise_are_incomparable_and_the_field_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], part: str, change: dict[str, str], name: str
) -> None:
    for folder, changes in (("a", {}), ("b", {part: change})):
        (tmp_path / folder).mkdir()
        write_report(tmp_path / folder, report(folder, samples("sums/accuracy", [1, 0, 1]), **changes))
    out = tmp_path / "page.html"
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(out)]) == 2
    printed = capsys.readouterr().out
    assert printed.startswith("incomparable:") and name in printed
    page = out.read_text(encoding="utf-8")
    assert "INCOMPARABLE" in page and name in page


def test_without_a_recipe_a_page_decides_nothing(folders: tuple[str, str], tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    assert main(["compare", *folders, "--out", str(out)]) == 0
    page = out.read_text(encoding="utf-8")
    assert (
        "COMPARISON" in page
        and "nothing is decided" in page
        and "A is better than B on sums/accuracy; on 1 of 2 metrics they cannot" in page
    )
    assert "may become champion" not in page and "temper compare" in page


def test_the_same_reports_give_the_same_page(folders: tuple[str, str], tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    pages = []
    for _ in range(2):
        main(["compare", *folders, "--out", str(out)])
        pages.append(out.read_bytes())
    assert pages[0] == pages[1]


def test_with_a_recipe_there_is_a_verdict(
    folders: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, out = write_recipe(tmp_path), tmp_path / "page.html"
    assert main(["compare", *folders, "--recipe", str(recipe), "--out", str(out)]) == 0
    assert capsys.readouterr().out.startswith("verdict: pass")
    assert "PASS" in out.read_text(encoding="utf-8")
    assert main(["compare", *reversed(folders), "--recipe", str(recipe)]) == 1


def test_a_folder_that_is_no_report_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "orchestration", "compare", str(tmp_path), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"{tmp_path}: not a report")
    assert "Traceback" not in done.stderr


def test_a_file_that_is_no_job_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text("{}")
    command = [sys.executable, "-m", "evaluation", str(tmp_path / "job.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "not a job: kind: Field required" in done.stdout
    assert "Traceback" not in done.stderr
