"""Signals on candidates, and the pairs that rules make of them."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from corpora.feedback.candidates import LEFT_OUT, Decided, Measured, candidate_pairs
from corpora.feedback.signals import examples, measure
from corpora.tables.tables import CANDIDATES, SIGNAL, candidates_schema, rows_of, signal_schema, writing
from lineage.errors import CorpusError
from recipes.candidates import Signal
from recipes.mixtures import CandidateRule

Numbers = dict[str, list[float | None]]
_SUM = {"kind": "gym", "task": "chain_sum", "arguments": {}, "answer": "7", "entry": {"answer": "7", "metadata": {}}}
_LOWER = {
    "kind": "instructions",
    "prompt": "q",
    "instruction_id_list": ["change_case:english_lowercase", "punctuation:no_comma"],
    "kwargs": [{}, {}],
}


def answer(text: str, finish: str = "stop", logprob: float = -1.0) -> dict[str, Any]:
    return {"text": text, "ids": list(range(len(text.split()))), "logprob": logprob, "finish": finish}


def write(
    folder: Path,
    prompts: Sequence[list[dict[str, Any]]],
    verifier: Any = None,
    sensitive: bool = False,
    reference: str | None = None,
) -> Path:
    """Candidates of so many prompts with these answers."""
    folder.mkdir(exist_ok=True)
    with writing(folder / CANDIDATES, candidates_schema(), {}) as table:
        for number, answers in enumerate(prompts):
            table.add(
                {
                    "id": f"{number}",
                    "source": "sums",
                    "verifier": None if verifier is None else json.dumps(verifier),
                    "sensitive": sensitive,
                    "reference": reference,
                    "prompt": [{"role": "user", "content": f"q{number}"}],
                    "prompt_ids": [1, 2],
                    "answers": answers,
                }
            )
    return folder


def values(
    folder: Path,
    section: dict[str, Any],
    prompts: Sequence[list[dict[str, Any]]],
    verifier: Any = None,
    reference: str | None = None,
) -> Any:
    """The numbers of the first prompt's answers by a signal, and its metrics."""
    signal: Signal = TypeAdapter(Signal).validate_python(section)
    metrics = measure("s", signal, write(folder / "candidates", prompts, verifier, reference=reference), folder)
    return next(iter(rows_of(folder / SIGNAL)))["values"], metrics


def pairs(folder: Path, answers: Sequence[dict[str, Any]], numbers: Numbers, **rule: Any) -> list[Decided]:
    """Pairs of one prompt whose answers have these numbers, by signal."""
    return counted(folder, answers, numbers, **rule)[0]


def counted(
    folder: Path, answers: Sequence[dict[str, Any]], numbers: Numbers, **rule: Any
) -> tuple[list[Decided], dict[str, int]]:
    signals = {}
    for name, of_answers in numbers.items():
        signals[name] = folder / name
        signals[name].mkdir(exist_ok=True)
        with writing(signals[name] / SIGNAL, signal_schema(), {}) as table:
            table.add({"id": "0", "values": of_answers})
    left_out = dict.fromkeys(("small_gap", "same_answer", *LEFT_OUT), 0)
    section = CandidateRule.model_validate({"candidates": "c", "by": list(numbers), **rule})
    found = candidate_pairs(Measured(write(folder / "c", [list(answers)]), signals), section, left_out)
    return list(found), left_out


def said(found: Sequence[Decided]) -> list[tuple[str, str, str, float]]:
    return [
        (one.pair.chosen[0]["content"], one.pair.rejected[0]["content"], one.signal, one.margin)  # type: ignore[misc]
        for one in found
    ]


def test_signals_say_of_each_answer_what_they_are_called(tmp_path: Path) -> None:
    texts = [answer("a b c"), answer("a a a a a a"), answer("x 42", logprob=-3.0)]
    assert values(tmp_path, {"kind": "length", "free_tokens": 2}, [texts])[0] == [-1, -4, 0]
    assert values(tmp_path, {"kind": "repetition", "n": 3}, [texts])[0] == [1, 0.25, 1]
    assert values(tmp_path, {"kind": "format", "pattern": r".*\d+"}, [texts])[0] == [0, 0, 1]
    assert values(tmp_path, {"kind": "likelihood"}, [texts])[0] == [-0.25, -1 / 7, -1]
    found, metrics = values(tmp_path, {"kind": "verifier"}, [[answer("7"), answer("8")]], _SUM)
    assert found[0] == 1 > found[1]
    assert values(tmp_path, {"kind": "verifier", "partial": False}, [[answer("7"), answer("17")]], _SUM)[0] == [1, 0]
    assert metrics["telling"] == 1 and metrics["checks"]["tells_answers_apart"]["passed"]


def test_instructions_give_the_share_that_is_followed(tmp_path: Path) -> None:
    asked = [[answer("all low"), answer("low, and comma"), answer("HIGH, comma")]]
    assert values(tmp_path, {"kind": "instructions"}, asked, _LOWER)[0] == [1, 0.5, 0]


def test_what_is_shown_of_a_signal_are_prompts_that_it_tells_apart_and_none_that_is_sensitive(tmp_path: Path) -> None:
    asked = [
        [answer("a b"), answer("c d")],
        [answer("a"), answer("b c d"), answer("e f")],
        [answer("x"), answer("y z")],
    ]
    values(tmp_path, {"kind": "length"}, asked)
    assert examples(tmp_path / "candidates", tmp_path, 5) == [
        ("q1", (-1.0, "a"), (-3.0, "b c d")),
        ("q2", (-1.0, "x"), (-2.0, "y z")),
    ]
    assert len(examples(tmp_path / "candidates", tmp_path, 1)) == 1
    write(tmp_path / "candidates", asked, sensitive=True)
    assert examples(tmp_path / "candidates", tmp_path, 5) == []


@pytest.mark.parametrize("metric", ["bleu", "chrf", "rouge1", "rouge2", "rougeL"])
def test_nearness_to_the_row_s_own_answer_is_a_signal(tmp_path: Path, metric: str) -> None:
    given = [answer(words) for words in ("the cat sat on the mat", "a cat sat on a mat", "no idea")]
    section = {"kind": "reference", "metric": metric}
    found, metrics = values(tmp_path, section, [given], reference="the cat sat on the mat")
    assert found[0] == pytest.approx(1) and found[0] > found[1] > found[2] >= 0
    assert metrics["telling"] == 1
    with pytest.raises(
        CorpusError, match="reference has no number for any of 1 answers: the rows of the prompts bring no"
    ):
        values(tmp_path, section, [[answer("7")]])


def test_a_signal_that_applies_to_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="verifier has no number for any of 1 answers: the prompts bring no such"):
        values(tmp_path, {"kind": "verifier"}, [[answer("7")]])


def test_the_first_signal_by_which_answers_differ_decides(tmp_path: Path) -> None:
    answers = [answer("a"), answer("b"), answer("c"), answer("d")]
    numbers: Numbers = {"right": [1.0, 1.0, 0.0, 0.0], "short": [-9.0, -2.0, 0.0, -5.0]}
    assert said(pairs(tmp_path, answers, numbers)) == [
        ("b", "c", "right", 1),
        ("b", "d", "right", 1),
        ("b", "a", "short", 7),
    ]
    assert said(pairs(tmp_path, answers, numbers, against="worst")) == [("b", "d", "right", 1)]
    steps = said(pairs(tmp_path, answers, numbers, against="next", min_gap=2))
    assert steps == [("b", "a", "short", 7), ("c", "d", "short", 5)]


def test_what_is_in_no_pair_is_counted(tmp_path: Path) -> None:
    answers = [answer("a"), answer("a"), answer("b", "length"), answer(" "), answer("c"), answer("d"), answer("e")]
    numbers: Numbers = {"right": [1.0, 1.0, 1.0, 1.0, None, 0.0, 1.0]}
    found, left_out = counted(tmp_path, answers, numbers)
    assert {(better, worse) for better, worse, *_ in said(found)} <= {("a", "d"), ("e", "d")} and len(found) == 1
    assert left_out == {"cut": 1, "empty": 1, "no_signal": 1, "same_answer": 1, "small_gap": 1, "over_per_prompt": 0}


def test_of_one_prompt_come_no_more_pairs_than_asked_for(tmp_path: Path) -> None:
    answers, numbers = [answer(text) for text in "abcd"], {"right": [3.0, 2.0, 1.0, 0.0]}
    found, left_out = counted(tmp_path, answers, numbers, per_prompt=2)
    assert said(found) == [("a", "d", "right", 3), ("a", "c", "right", 2)] and left_out["over_per_prompt"] == 1


_number = st.one_of(st.none(), st.sampled_from([0.0, 0.5, 1.0, 2.0]))
_answers = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), _number, _number), min_size=2, max_size=8, unique_by=lambda a: a[0]
)


@given(_answers, st.sampled_from(["rest", "next", "worst"]), st.sampled_from([0.0, 0.5, 1.0]), st.randoms())
def test_pairs_contradict_no_number_and_no_order_changes_them(
    made: list[tuple[str, float | None, float | None]], against: str, min_gap: float, dice: Any
) -> None:
    rule = {"against": against, "min_gap": min_gap}

    def found(answers: list[tuple[str, float | None, float | None]]) -> list[tuple[str, str, str, float]]:
        numbers: Numbers = {"first": [a[1] for a in answers], "second": [a[2] for a in answers]}
        with tempfile.TemporaryDirectory() as folder:
            return said(pairs(Path(folder), [answer(a[0]) for a in answers], numbers, **rule))

    once = found(made)
    of = {text: (first, second) for text, first, second in made}
    for better, worse, signal, margin in once:
        place = ("first", "second").index(signal)
        assert of[better][:place] == of[worse][:place]
        high, low = of[better][place], of[worse][place]
        assert high is not None and low is not None and high - low == margin >= max(min_gap, 1e-9)
    shuffled = list(made)
    dice.shuffle(shuffled)
    assert found(shuffled) == once
