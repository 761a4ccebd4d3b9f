"""Length control: what it estimates, and that scores made of it decide a gate as rarely wrongly as they say."""

import math

import numpy as np
import pytest

from evaluation.judges.length_control import blocks, control_length, values_by_block
from evaluation.statistics.statistics import mean_interval, paired_difference
from lineage.hashing import text_digest

HASHES = [text_digest(str(index)) for index in range(240)]


def verdicts(rng: np.random.Generator, worth: float, gaps: np.ndarray) -> list[float]:
    """A judge who likes length: `worth` logits for the answer, two for each hundred characters more."""
    noise = rng.logistic(size=len(gaps))
    return [float(won) for won in worth + 2 * np.tanh(gaps / 100) + noise > 0]


def test_it_finds_the_win_rate_at_equal_length_and_the_taste_for_length() -> None:
    rng = np.random.default_rng(0)
    gaps = rng.normal(100, 100, 4000)
    won = verdicts(rng, 0.5, gaps)
    found = control_length(won, gaps.tolist())
    assert found is not None and sum(won) / len(won) > 0.75
    assert found.at_equal_length.low < 1 / (1 + math.exp(-0.5)) < found.at_equal_length.high
    assert found.at_equal_length.high - found.at_equal_length.low < 0.1
    assert found.coefficient.low < 2 < found.coefficient.high


def test_equally_good_models_of_different_length_are_told_apart_no_more_often_than_alpha() -> None:
    rng, draws = np.random.default_rng(1), 200
    members = blocks(HASHES)
    n, told, passes, by_win_rate = len(members), [True] * len(members), 0, 0
    for _ in range(draws):
        longer, shorter = rng.normal(120, 100, n), rng.normal(-20, 100, n)
        ours, theirs = verdicts(rng, 0, longer), verdicts(rng, 0, shorter)
        values = [
            values_by_block(members, won, gaps.tolist(), told) for won, gaps in ((ours, longer), (theirs, shorter))
        ]
        passes += paired_difference(values[0], values[1], members, False, 0.05).lower > 0
        by_win_rate += paired_difference(ours, theirs, None, True, 0.05).lower > 0
    assert passes / draws <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / draws)
    assert by_win_rate / draws > 0.9


def test_the_mean_of_the_scores_is_the_aggregate_and_blocks_are_the_same_for_the_same_items() -> None:
    rng = np.random.default_rng(2)
    gaps = rng.normal(50, 100, 240)
    won, members = verdicts(rng, 0, gaps), blocks(HASHES)
    values = values_by_block(members, won, gaps.tolist(), [True] * 240)
    found = control_length(won, gaps.tolist())
    assert found is not None
    assert mean_interval(values, members, False).mean == pytest.approx(found.at_equal_length.value)
    assert len(set(members)) == 6 and all(0 <= value <= 1 for value in values)
    assert blocks(HASHES[::-1]) == members[::-1]
    assert set(blocks(HASHES[:30])) == {0}


def test_what_lengths_cannot_explain_is_as_it_was_judged() -> None:
    always = control_length([1.0] * 50, list(range(50)))
    assert always is not None and 0.9 < always.at_equal_length.value <= always.at_equal_length.high <= 1
    assert control_length([1.0] * 50, [3.0] * 50) is None
    assert control_length([1.0, 0.0], [3.0, 4.0]) is None
    assert values_by_block([0] * 4, [1, 1, 0, 0.5], [3.0] * 4, [True, True, True, False]) == [2 / 3] * 4
    assert values_by_block([0] * 2, [0.5, 0.5], [1.0, 2.0], [False, False]) == [0.5, 0.5]
