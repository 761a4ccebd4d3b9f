"""The best answers of candidates are examples like any: picked by signals, held against the evaluation, counted."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpora.contamination.items import ITEMS, items_schema
from corpora.feedback.best_of_n import pick
from corpora.feedback.candidates import Measured
from corpora.tables.tables import ROWS, SIGNAL, facts_of, rows_of, signal_schema, writing
from lineage.errors import CorpusError
from recipes.candidates import BestOfN
from recipes.cleaning import Contamination
from recipes.execution import CorporaExecution
from tests.corpora.test_signals import answer, write

ITEM = "A lighthouse keeper counts the ships that pass on the first nine nights of winter, and she writes them down."


def picked(
    folder: Path, answers: list[list[dict[str, Any]]], numbers: dict[str, list[list[float | None]]], **section: Any
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Metrics and rows of what is picked from these answers by these numbers. A sensitive prompt is `sensitive`."""
    signals = {}
    for name, of_prompts in numbers.items():
        signals[name] = folder / name
        signals[name].mkdir()
        with writing(signals[name] / SIGNAL, signal_schema(), {}) as table:
            for number, values in enumerate(of_prompts):
                table.add({"id": f"{number}", "values": values})
    fields = {"task": "quiz", "item": 0, "field": "question", "text": ITEM, "generated": False, "sensitive": False}
    pq.write_table(pa.Table.from_pylist([fields], items_schema()), folder / ITEMS)
    work = folder / "work"
    work.mkdir()
    given = {"candidates": "tries", "by": list(numbers), "group": "own", "licence": "ours", **section}
    sensitive = given.pop("sensitive", False)
    metrics = pick(
        "best",
        BestOfN.model_validate(given),
        Measured(write(folder / "c", answers, sensitive=sensitive), signals),
        work,
        items=folder / ITEMS,
        contamination=Contamination(),
        execution=CorporaExecution(workers=1),
    )
    return metrics, list(rows_of(work / ROWS))


def said(rows: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    return [tuple(message["content"] for message in row["messages"]) for row in rows]


def test_the_best_answers_by_the_first_signal_that_tells_are_examples(tmp_path: Path) -> None:
    answers = [[answer("a"), answer("bb"), answer("ccc")], [answer("x"), answer("yy", finish="length"), answer(" ")]]
    numbers: dict[str, list[list[float | None]]] = {"right": [[1, 1, 0], [0, 1, 1]], "short": [[-2, -1, 0], [0, 0, 0]]}
    metrics, rows = picked(tmp_path, answers, numbers)
    assert said(rows) == [("q0", "bb"), ("q1", "x")]
    assert metrics["left_out"] == {"cut": 1, "empty": 1, "beyond": 2} and metrics["picked"] == 2
    facts = facts_of(tmp_path / "work" / ROWS)
    assert (facts["kind"], facts["group"], facts["licence"], facts["sensitive"]) == (
        "conversation",
        "own",
        "ours",
        False,
    )


def test_only_what_is_good_enough_is_picked_and_as_many_as_asked(tmp_path: Path) -> None:
    answers = [[answer(words) for words in "abc"], [answer(words) for words in "xyz"]]
    numbers: dict[str, list[list[float | None]]] = {"right": [[1, 0.5, 0], [0.2, None, 0.1]]}
    metrics, rows = picked(tmp_path, answers, numbers, keep=2, at_least={"right": 0.5}, sensitive=True)
    assert said(rows) == [("q0", "a"), ("q0", "b")]
    assert metrics["left_out"] == {"no_signal": 1, "below": 3} and metrics["prompts"] == 2
    assert facts_of(tmp_path / "work" / ROWS)["sensitive"]


def test_what_says_an_evaluation_item_is_not_learned(tmp_path: Path) -> None:
    metrics, rows = picked(tmp_path, [[answer(ITEM)], [answer("fine")]], {"right": [[1], [1]]})
    assert said(rows) == [("q1", "fine")] and metrics["contaminated"] == 1


def test_that_nothing_is_good_enough_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"best_of_n\.best: of 1 prompts none has an answer to pick .*'below': 1"):
        picked(tmp_path, [[answer("a")]], {"right": [[0]]}, at_least={"right": 1})
