"""Fixed parts of a benchmark: its mean is as sure as its items make it, however few or many the parts are."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from evaluation.statistics.clusters import effective_items
from evaluation.statistics.statistics import mean_bounds, mean_interval, paired_difference
from recipes import paired
from recipes.paired import score_bounds
from tests.evaluation.made_strata import MMLU, MMLU_PRO, labels

ALPHA = 0.05
DRAWS = 20_000
AT_MOST = ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / DRAWS)


def test_the_score_test_has_the_published_bounds() -> None:
    # Fagerland, Lydersen and Laake, Statistics in Medicine 33 (2014), table IX: 1 and 7 of 21 pairs changed.
    assert score_bounds(1, 7, 21, 0.025) == pytest.approx((-0.517, -0.026), abs=5e-4)
    assert score_bounds(7, 1, 21, 0.025) == pytest.approx((0.026, 0.517), abs=5e-4)


def test_the_effective_number_of_items_is_that_of_the_formula() -> None:
    values = np.array([0.0] * 3 + [1.0] * 6)
    spread = 0.25  # of nine; inside: 4 · 1/4 of the first part, 0 of the second; what one item alone hides is unknown
    assert effective_items(values, list("aaaabbbbc")) == pytest.approx(9 / ((1 / spread + 3) / 9))
    assert effective_items(values, list("aaaabbbbb")) == pytest.approx(9 / ((1 / spread + 2) / 9))
    assert effective_items(values, list("aaaaaaaaa")) == effective_items(values, None) == 9
    assert effective_items(np.ones(9), list("aaaabbbbb")) == 9


def test_the_variance_is_that_inside_the_strata() -> None:
    rng = np.random.default_rng(1)
    strata, level = labels(MMLU), rng.uniform(0.2, 0.95, len(MMLU))
    scores = (rng.random(MMLU.sum()) < np.repeat(level, MMLU)).astype(float)
    inside = [scores[np.array(strata) == part].var(ddof=1) for part in range(len(MMLU))]
    shares = MMLU / MMLU.sum()
    found = mean_interval(scores, None, True, strata=strata)
    assert found.se == pytest.approx(math.sqrt(sum(shares**2 * np.array(inside) / MMLU)), rel=3e-3)
    assert found.se < 0.95 * mean_interval(scores, None, True).se


def test_the_number_of_strata_says_nothing_of_how_sure_a_mean_is() -> None:
    scores = np.random.default_rng(2).integers(0, 2, 5000).astype(float)
    alone = mean_interval(scores, None, True)
    for count in (2, 5, 57):
        parts = mean_interval(scores, None, True, strata=[item % count for item in range(5000)])
        assert parts.se == pytest.approx(alone.se, rel=0.02) and parts.low == pytest.approx(alone.low, abs=1e-3)


def test_strata_of_one_item_and_outcomes_that_do_not_vary_are_as_without_strata() -> None:
    scores = np.array([1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    assert effective_items(scores, list(range(7))) == effective_items(scores, None) == 7
    assert effective_items(np.ones(7), [0, 0, 0, 1, 1, 1, 1]) == 7
    assert 7 <= effective_items(scores, [0, 0, 0, 1, 1, 1, 1]) <= 49


@pytest.mark.parametrize("sizes", [MMLU, MMLU_PRO], ids=["MMLU", "MMLU-Pro"])
def test_equal_answers_keep_the_narrowest_planned_margin(sizes: np.ndarray) -> None:
    scores = (np.random.default_rng(3).random(sizes.sum()) < 0.45).astype(float)
    found = paired_difference(scores, scores, None, True, ALPHA)
    assert -0.0005 < found.lower < 0


def _draws(
    rng: np.random.Generator, sizes: np.ndarray, better: np.ndarray, worse: np.ndarray, draws: int
) -> tuple[np.ndarray, np.ndarray]:
    """Items won and lost by draw and stratum, of chances by stratum."""
    counts = rng.multinomial(
        np.broadcast_to(sizes, (draws, len(sizes))), np.stack([better, worse, 1 - better - worse], -1)
    )
    return counts[..., 0], counts[..., 1]


def _passes(won: np.ndarray, lost: np.ndarray, sizes: np.ndarray, margin: float) -> np.ndarray:
    """Whether the lower bound is above the margin: the rule of `paired_difference`, for many draws at once."""
    n = sizes.sum()
    b, c = won.sum(1) / n, lost.sum(1) / n
    linear = (2 - b + c) * -margin - b - c
    null = (np.sqrt(np.maximum(linear**2 - 8 * c * margin * (1 + margin), 0)) - linear) / 2 - margin * (1 + margin)
    z = norm.ppf(1 - ALPHA)
    score = b - c + margin > z * np.sqrt(np.maximum(null, 0) / n)
    centre = (b - c) * n / (n + 2)
    squares = (b + c) * n + 1 - ((b - c) * n) ** 2 / (n + 2)
    return score & (centre - z * np.sqrt(squares) / (n + 2) > -margin)


def test_the_rule_for_many_draws_is_the_gates() -> None:
    rng, seen = np.random.default_rng(4), set()
    for _ in range(100):
        sizes = rng.integers(1, 40, int(rng.integers(2, 30)))
        better, worse = rng.dirichlet([1, 1, 6], size=len(sizes))[:, :2].T
        won, lost = _draws(rng, sizes, better, worse, 1)
        moves = np.concatenate(
            [
                np.r_[np.ones(w), -np.ones(x), np.zeros(n - w - x)]
                for w, x, n in zip(won[0], lost[0], sizes, strict=True)
            ]
        )
        after = (moves >= 0).astype(float)
        found = paired_difference(after, after - moves, None, True, ALPHA)
        for margin in (0.01, 0.05, 0.12, 0.3):
            passed = bool(_passes(won, lost, sizes, margin)[0])
            assert passed == (found.lower > -margin)
            seen.add(passed)
    assert seen == {True, False}


def _only_losses(rng: np.random.Generator, sizes: np.ndarray, margin: float) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(len(sizes)), np.full(len(sizes), margin)


def _one_in_ten_changes(rng: np.random.Generator, sizes: np.ndarray, margin: float) -> tuple[np.ndarray, np.ndarray]:
    return np.full(len(sizes), 0.05), np.full(len(sizes), 0.05 + margin)


def _by_subject(rng: np.random.Generator, sizes: np.ndarray, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """Subjects change in different directions, by ten points or so."""
    effect = rng.normal(0, 0.1, len(sizes)).clip(-0.3, 0.3)
    worse = 0.1 + margin + np.maximum(-effect, 0)
    return np.maximum(0, worse - margin + effect), worse


@pytest.mark.parametrize("changes", [_only_losses, _one_in_ten_changes, _by_subject])
@pytest.mark.parametrize(
    ("sizes", "margin"),
    [(MMLU, 0.01), (MMLU, 0.02), (MMLU_PRO, 0.02), (None, 0.12)],
    ids=["MMLU", "MMLU-wide", "MMLU-Pro", "64-of-MMLU"],
)
def test_a_model_worse_by_the_margin_passes_no_more_than_alpha(changes, sizes, margin) -> None:
    rng = np.random.default_rng(5)
    passes, each = 0, DRAWS if sizes is not None else DRAWS // 50
    for _ in range(DRAWS // each):
        drawn = rng.multinomial(64, MMLU / MMLU.sum()) if sizes is None else sizes
        drawn = drawn[drawn > 0]
        better, worse = changes(rng, drawn, margin)
        truth = float(((worse - better) * drawn).sum() / drawn.sum())
        passes += int(_passes(*_draws(rng, drawn, better, worse, each), drawn, truth).sum())
    assert passes / DRAWS <= AT_MOST
    assert passes / DRAWS >= 0.025  # and the test is not merely timid


LOST = [
    ([21, 1, 16, 5, 3, 29, 1, 24], [0, 0.998, 0, 0.018, 0, 0, 0.828, 0]),
    ([32, 16, 36, 16], [0, 0.97, 0, 0.14]),
    ([16, 16], [0.98, 0.1]),
    ([25] * 14, [0.95, 0.95, *[0.1] * 12]),
]


@pytest.mark.parametrize(("sizes", "lost"), LOST, ids=["eight", "four", "two", "fourteen"])
def test_strata_that_collapse_make_no_false_passes(sizes, lost) -> None:
    counts, worse = np.array(sizes), np.array(lost)
    truth = float((worse * counts).sum() / counts.sum())
    won, down = _draws(np.random.default_rng(8), counts, np.zeros(len(counts)), worse, DRAWS)
    assert _passes(won, down, counts, truth).mean() <= AT_MOST


@pytest.mark.parametrize(
    ("sizes", "discordance", "margin"),
    [
        *((MMLU, 0.10, 0.01), (MMLU, 0.20, 0.01), (MMLU_PRO, 0.20, 0.02), (MMLU_PRO, 0.20, 0.01)),
        *((np.array([64]), 0.10, 0.12), (np.array([32]), 0.20, 0.22), (np.array([541]), 0.20, 0.05)),
    ],
)
def test_equally_good_models_pass_as_often_as_planned(sizes: np.ndarray, discordance: float, margin: float) -> None:
    half = np.full(len(sizes), discordance / 2)
    passed = _passes(*_draws(np.random.default_rng(6), sizes, half, half, DRAWS), sizes, margin).mean()
    planned = paired.chance(int(sizes.sum()), discordance / 2, discordance / 2, -margin, ALPHA)
    assert passed == pytest.approx(planned, abs=0.05)
    if sizes is MMLU and discordance == 0.1:
        assert passed >= 0.95


def test_intervals_and_floors_of_strata_are_right_as_often_as_they_say() -> None:
    rng, sizes = np.random.default_rng(7), np.full(20, 40)
    level = np.linspace(0.1, 0.9, 20)
    draws, strata = 2000, labels(sizes)
    covered = kept = 0
    for _ in range(draws):
        scores = (rng.random(800) < np.repeat(level, sizes)).astype(float)
        interval = mean_interval(scores, None, True, strata=strata)
        covered += interval.low <= 0.5 <= interval.high
        if abs(interval.mean - 0.5) > 0.01:  # no bound is nearer to its mean
            kept += mean_bounds(scores, None, True, ALPHA)[0] >= 0.5
    assert 0.95 - 3 * math.sqrt(0.05 * 0.95 / draws) <= covered / draws <= 0.97
    assert 0 < kept / draws <= ALPHA + 3 * math.sqrt(0.05 * 0.95 / draws)
