"""Splits: a row's side is its own, whatever else there is."""

import random
from collections import Counter
from typing import Any

import pytest
from pydantic import ValidationError

from corpora.splits import Side, side_of
from recipes.cleaning import Splits
from tests.corpora.made import talk


def sides(rows: list[dict[str, Any]], **shares: Any) -> list[Side]:
    return [side_of(row, Splits(**shares)) for row in rows]


def questions(count: int) -> list[dict[str, Any]]:
    return [talk(f"What is {number} plus one?", f"{number + 1}") for number in range(count)]


def test_shares_come_out_about_as_asked() -> None:
    found = Counter(sides(questions(5000), validation=0.1, held_out=0.2))
    assert found["validation"] == pytest.approx(500, abs=75)
    assert found["held_out"] == pytest.approx(1000, abs=100)


def test_without_shares_every_row_is_trained_on() -> None:
    assert set(sides(questions(300))) == {"train"}


def test_a_larger_share_takes_rows_from_training_only() -> None:
    rows = questions(3000)
    before = sides(rows, validation=0.1, held_out=0.1)
    for more in ({"validation": 0.2, "held_out": 0.1}, {"validation": 0.1, "held_out": 0.2}):
        moved = {(old, new) for old, new in zip(before, sides(rows, **more), strict=True) if old != new}
        assert len(moved) == 1 and {old for old, _ in moved} == {"train"}


def test_another_salt_draws_other_rows() -> None:
    rows = questions(1000)
    assert sides(rows, validation=0.5, salt="a") != sides(rows, validation=0.5, salt="b")


def test_answers_to_one_question_are_on_one_side_however_it_is_written() -> None:
    rng = random.Random(5)
    for number in range(200):
        question = f"Which river, said {number}, is the longest?"
        other = "".join(rng.choice((c.upper(), c.lower())) for c in question).replace(", ", "  ").replace("?", " ?!")
        rows = [talk(question, "this one"), talk(question, "that one"), talk(other, "another")]
        rows[1]["messages"] += [{"role": "user", "content": f"Sure? {number}"}, {"role": "assistant", "content": "Yes"}]
        assert len(set(sides(rows, validation=0.3, held_out=0.3))) == 1


def test_questions_of_signs_alone_are_told_apart() -> None:
    assert len(set(sides([talk("?" * n, "!") for n in range(1, 200)], validation=0.5))) == 2


def test_documents_are_split_by_their_text() -> None:
    rows = [{"text": f"Chapter {number}. It was quiet."} for number in range(1000)]
    assert Counter(sides(rows, held_out=0.5))["held_out"] == pytest.approx(500, abs=60)


def test_something_must_be_left_to_train_on() -> None:
    with pytest.raises(ValidationError, match="none is left"):
        Splits(validation=0.5, held_out=0.5)
