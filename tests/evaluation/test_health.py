"""When a report is not to be trusted."""

from evaluation.health import of_answers, problems
from evaluation.task import Outcome
from models.answering import Response
from tests.evaluation.made_reports import samples


def outcome(n: int = 30, **health: int) -> Outcome:
    return Outcome(samples("quiz/accuracy", [1] * n), health, tokens=0)


def test_a_sound_outcome_has_no_problems() -> None:
    assert problems("quiz", 30, outcome(nonfinite=0, empty=15, cut=30, constant=0)) == []


def test_missing_and_repeated_items_are_told() -> None:
    twice = Outcome([*outcome(3).samples, outcome(3).samples[0]], {}, tokens=0)
    assert problems("quiz", 4, twice) == ["quiz: 3 of 4 items were scored", "quiz: 1 items were scored twice"]


def test_nans_empty_answers_and_constant_choices_are_told() -> None:
    assert problems("quiz", 30, outcome(nonfinite=1, empty=16, constant=1)) == [
        "quiz: 1 of 30 items have NaN or infinite probabilities",
        "quiz: 16 of 30 answers are empty",
        "quiz: the same choice for each of 30 items",
    ]


def test_the_same_choice_on_a_few_items_may_be_chance() -> None:
    assert problems("quiz", 5, outcome(5, constant=1)) == []


def test_thoughts_without_an_answer_are_no_sign_of_a_broken_run() -> None:
    told = [("", True), ("", True), ("", False), ("four", False)]
    counts = of_answers(Response(text, 9, 3, cut=True, finite=True, thought_only=alone) for text, alone in told)
    assert counts == {"nonfinite": 0, "empty": 1, "thought_only": 2, "cut": 4}
    assert problems("quiz", 30, outcome(nonfinite=0, empty=2, thought_only=28)) == []
    assert "thought_only" not in of_answers([Response("four", 9, 3, cut=False, finite=True)])
