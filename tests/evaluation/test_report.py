"""Reports as values and as files."""

import json
from pathlib import Path

import pyarrow.parquet
import pytest

from evaluation.report import Report, write_report
from lineage.errors import EvaluationError
from tests.evaluation.made_reports import report, samples


def test_a_report_comes_back_from_its_files_as_it_was(tmp_path: Path) -> None:
    made = report("base", samples("sums/accuracy", [1, 0, 1]), health={"sums": {"empty": 1}})
    write_report(tmp_path, made)
    read = Report.load(tmp_path)
    assert (read, read.report_id, read.valid) == (made, made.report_id, True)


def test_the_same_report_is_the_same_bytes(tmp_path: Path) -> None:
    contents = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        write_report(folder, report("base", samples("sums/accuracy", [1, 0, 1])))
        contents.append([path.read_bytes() for path in sorted(folder.iterdir())])
    assert contents[0] == contents[1]


def test_a_result_has_an_interval_and_its_subgroups() -> None:
    rows = samples("quiz/accuracy", [1, 0, 0, 1], per_cluster=2, subgroup="first")
    rows[0] = {**rows[0], "subgroup": "second"}
    result = report("base", rows).results["quiz/accuracy"]
    assert (result["n"], result["n_clusters"], result["n_strata"], result["mean"]) == (4, 2, 1, 0.5)
    assert result["ci95"][0] < 0.5 < result["ci95"][1]
    assert result["subgroups"] == {"first": {"n": 3, "mean": 1 / 3}, "second": {"n": 1, "mean": 1.0}}


def test_an_interval_is_as_wide_as_items_inside_strata_make_it() -> None:
    easy, hard = samples("quiz/accuracy", [1] * 49 + [0]), samples("quiz/accuracy", [0] * 49 + [1])
    named = [(f"{part} {row['doc_id']}", row) for part, of in (("easy", easy), ("hard", hard)) for row in of]
    rows = [{**row, "doc_hash": name, "cluster": name} for name, row in named]
    alone = report("base", rows).results["quiz/accuracy"]
    parts = [{**row, "stratum": part} for row, part in zip(rows, ["easy"] * 50 + ["hard"] * 50, strict=True)]
    divided = report("base", parts).results["quiz/accuracy"]
    assert (divided["n_strata"], divided["n_clusters"], divided["mean"]) == (2, 100, 0.5)
    assert divided["se"] < alone["se"] / 2 and divided["ci95"][0] > alone["ci95"][0]


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -0.1, 1.1])
def test_a_score_outside_zero_to_one_is_refused(score: float) -> None:
    with pytest.raises(ValueError, match="sums/accuracy item 0: score"):
        report("base", samples("sums/accuracy", [score]))


def test_an_item_given_twice_is_refused() -> None:
    rows = samples("sums/accuracy", [1])
    with pytest.raises(ValueError, match="1 items are given twice"):
        report("base", [*rows, *rows])


def test_a_sample_changed_on_disk_is_noticed(tmp_path: Path) -> None:
    write_report(tmp_path, report("base", samples("sums/accuracy", [1, 0])))
    table = pyarrow.parquet.read_table(tmp_path / "samples.parquet")
    rows = [{**row, "score": 1.0} for row in table.to_pylist()]
    pyarrow.parquet.write_table(table.from_pylist(rows, schema=table.schema), tmp_path / "samples.parquet")
    with pytest.raises(EvaluationError, match="report_id differs"):
        Report.load(tmp_path)


def test_a_folder_without_a_report_is_named(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=f"{tmp_path}: not a report"):
        Report.load(tmp_path)


def test_an_invalid_report_says_so_in_its_file(tmp_path: Path) -> None:
    write_report(tmp_path, report("base", samples("sums/accuracy", [0]), invalid_reasons=["sums: broken"]))
    body = json.loads((tmp_path / "report.json").read_text())
    assert (body["valid"], body["invalid_reasons"]) == (False, ["sums: broken"])
    assert not Report.load(tmp_path).valid
