"""Unpaired answers as a prepared artefact: labels, tokens, and checks that can fail."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpora.feedback.checks import check_unpaired
from corpora.feedback.preferences import build_preferences
from corpora.tables.tables import unpaired_schema
from lineage.errors import CorpusError
from models.template import ChatTemplate
from recipes.mixtures import Preferences
from tests.corpora.made import cleaned, source, talk

KTO = [{"prompt": f"question {i}", "completion": f"answer {i}", "label": i % 3 > 0} for i in range(30)]
PAIRS = [{"prompt": f"question {i}", "chosen": "good", "rejected": f"bad {i}"} for i in range(6)]


def run(folder: Path, base: Path, rows: list[Any], **rule: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    cleaned(folder / "in", "judged", rows)
    work = folder / "work"
    work.mkdir()
    asked = Preferences.model_validate({"unpaired": [{"source": "judged", **rule}], "max_length": 64, "seed": 1})
    clean = {"judged": folder / "in" / "clean_judged"}
    metrics = build_preferences(asked, clean, {"judged": source("judged.jsonl")}, base, folder, work)
    assert {file.name for file in work.iterdir()} == {"unpaired.parquet"}
    return metrics, pq.read_table(work / "unpaired.parquet").to_pylist()


def test_labelled_answers_are_tokenised_by_the_template(tiny_base: Path, tmp_path: Path) -> None:
    long = {"prompt": "q", "completion": "word " * 80, "label": False}
    metrics, rows = run(tmp_path, tiny_base, [*KTO, long])
    template = ChatTemplate.load(tiny_base)
    assert (metrics["unpaired"], metrics["good"], metrics["bad"]) == (30, 20, 10)
    assert metrics["rules"][0]["left_out"]["overlong"] == 1
    expected = {row["prompt"]: (row["completion"], row["label"]) for row in KTO}
    for row in rows:
        assert row["prompt_ids"] == template.prompt_ids(row["prompt"])
        answer, label = expected[row["prompt"][-1]["content"]]
        assert template.tokenizer.decode(row["completion_ids"]) == answer + template.end_of_turn
        assert row["label"] is label
    assert all(check["passed"] for check in metrics["checks"].values())
    assert [row["label"] for row in rows] != sorted((row["label"] for row in rows), reverse=True)


def test_a_recorded_pair_gives_a_good_answer_and_a_bad_one(tiny_base: Path, tmp_path: Path) -> None:
    several = [*PAIRS, {"prompt": "question 0", "chosen": "good", "rejected": "worse"}]
    metrics, rows = run(tmp_path, tiny_base, several)
    found = {(row["prompt"][-1]["content"], row["completion"][0]["content"], row["label"]) for row in rows}
    assert len(found) == len(rows) == 13 and metrics["rules"][0]["left_out"]["repeated"] == 1
    assert ("question 0", "good", True) in found and ("question 0", "worse", False) in found


def test_a_limit_draws_that_many(tiny_base: Path, tmp_path: Path) -> None:
    metrics, rows = run(tmp_path, tiny_base, KTO, limit=7)
    assert len(rows) == 7 and metrics["rules"][0]["available"] == 30


def test_rows_without_a_judgement_are_refused(tiny_base: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="needs unpaired or preference rows, source 'judged' has conversation rows"):
        run(tmp_path, tiny_base, [talk("q", "a")])


def test_an_entry_holds_pairs_or_single_answers() -> None:
    rules = {"pairs": [{"source": "a"}], "unpaired": [{"source": "b"}]}
    for fields in (rules, {}):
        with pytest.raises(ValueError, match="either pairs or unpaired"):
            Preferences.model_validate({**fields, "max_length": 64, "seed": 1})


@pytest.mark.invariants
@pytest.mark.parametrize(
    ("changed", "failing"),
    [
        ({}, set()),
        ({"prompt_ids": lambda row: row["prompt_ids"][:-1]}, {"template_parity"}),
        ({"completion_ids": lambda row: row["completion_ids"][:-1]}, {"end_of_turn"}),
        ({"label": lambda _: True}, {"both_labels"}),
        ({"completion": lambda _: [{"role": "assistant", "content": "no"}]}, {"template_parity"}),
    ],
)
def test_wrong_answers_are_found(tiny_base: Path, tmp_path: Path, changed: dict[str, Any], failing: set[str]) -> None:
    checks = checked(tiny_base, tmp_path, [("so it is", True), ("not so it is", False)], changed)
    assert {name for name, check in checks.items() if not check["passed"]} == failing


def test_answers_called_good_and_bad_are_counted_and_block_nothing(tiny_base: Path, tmp_path: Path) -> None:
    check = checked(tiny_base, tmp_path, [("yes", True), ("yes", False), ("no", False)])["labels_agree"]
    assert (check["value"], check["passed"], check["blocking"]) == (1, False, False)


def checked(
    base: Path, folder: Path, answers: list[tuple[str, bool]], changed: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The checks of answers to one prompt; changed: columns made otherwise."""
    template = ChatTemplate.load(base)
    prompt = talk("why", "-")["messages"][:1]
    prompt_ids = template.prompt_ids(prompt)
    rows = []
    for words, label in answers:
        completion = {"role": "assistant", "content": words}
        row: dict[str, Any] = {"id": words, "source": "a", "signal": "unpaired", "sensitive": False, "tools": None}
        row |= {"prompt": prompt, "completion": [completion], "label": label, "prompt_ids": prompt_ids}
        row["completion_ids"] = template.answer_ids(prompt, completion, prompt_ids)
        rows.append({**row, **{name: change(row) for name, change in (changed or {}).items()}})
    pq.write_table(pa.Table.from_pylist(rows, schema=unpaired_schema()), folder / "unpaired.parquet")
    checks: dict[str, Any] = check_unpaired(folder / "unpaired.parquet", template)["checks"]
    return checks
