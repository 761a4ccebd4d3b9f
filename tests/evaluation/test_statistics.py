"""Intervals, paired tests and power, against published numbers and by simulation."""

import math

import numpy as np
import pytest
from scipy.stats import beta
from scipy.stats import t as student

from evaluation.gating.power import items_needed, minimum_detectable, power, power_at
from evaluation.statistics.statistics import holm, mean_bounds, mean_interval, p_value, paired_difference, quantile
from recipes.paired import score_bounds

DRAWS = 10_000
ALPHA = 0.05


def test_what_does_not_vary_is_not_known():
    assert mean_bounds([0.7] * 10, None, False, ALPHA) == (0.0, 1.0)
    alone = paired_difference([1.0], [0.0], None, True, ALPHA)
    assert (alone.lower, alone.upper, p_value(alone, 0.0, ALPHA)) == (-1.0, 1.0, 1.0)


def test_holm_divides_alpha_among_the_tests_that_are_left():
    passing = holm([0.3, 0.01, 0.02], ALPHA)
    assert [step.level for step in passing] == pytest.approx([ALPHA, ALPHA / 3, ALPHA / 2])
    assert [step.adjusted for step in passing] == pytest.approx([0.3, 0.03, 0.04])
    stopped = holm([0.02, 0.03, 0.001], ALPHA)
    assert [step.level for step in stopped] == pytest.approx([ALPHA / 2, ALPHA, ALPHA / 3])
    assert [step.level for step in holm([0.02, 0.03, 0.04], ALPHA)] == pytest.approx([ALPHA / 3] * 3)


def test_unclustered_binary_mean_has_wilsons_interval():
    # Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263.
    interval = mean_interval([1.0] * 81 + [0.0] * 182, None, binary=True)
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.2553, 0.3662)
    assert interval.se == pytest.approx(math.sqrt(81 / 263 * 182 / 263 / 263))


def test_clustered_standard_error_counts_clusters_not_items():
    items = np.repeat([0.0, 1.0, 1.0, 0.0, 1.0, 0.0], 50)
    clustered = mean_interval(items, np.repeat(range(6), 50).tolist(), binary=True)
    alone = mean_interval(items[::50], None, binary=False)
    assert clustered.n_clusters == 6
    assert clustered.se == pytest.approx(alone.se)
    assert (clustered.low, clustered.high) == pytest.approx((alone.low, alone.high))


@pytest.mark.parametrize("clusters", [None, [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]])
def test_a_perfect_score_on_few_items_is_not_certain(clusters):
    interval = mean_interval([1.0] * 10, clusters, binary=True)
    assert interval.mean == interval.high == 1
    assert interval.low < 0.75


def test_scores_outside_zero_and_one_are_refused():
    for bad in ([0.5, float("nan")], [0.5, 1.5], []):
        with pytest.raises(ValueError, match="scores"):
            mean_interval(bad, None, binary=False)


def test_unclustered_binary_difference_is_agresti_and_mins():
    # Agresti and Min 2005, section 2: n = 1600, b = 150, c = 86 (approval ratings): centre and variance by hand.
    better, worse, n = 150, 86, 1600
    candidate = [1.0] * better + [0.0] * worse + [1.0] * (n - better - worse)
    reference = [0.0] * better + [1.0] * worse + [1.0] * (n - better - worse)
    found = paired_difference(candidate, reference, None, binary=True, alpha=0.025)
    centre = (better - worse) / (n + 2)
    se = math.sqrt(better + worse + 1 - (better - worse) ** 2 / (n + 2)) / (n + 2)
    assert found.mean == pytest.approx(0.04)
    assert (found.centre, found.se) == pytest.approx((centre, se))
    assert (
        found.lower == pytest.approx(centre - 1.959964 * se) and found.lower < score_bounds(better, worse, n, 0.025)[0]
    )
    assert found.upper == pytest.approx(max(centre + 1.959964 * se, score_bounds(better, worse, n, 0.025)[1]))


def test_singleton_clusters_are_no_clusters():
    rng = np.random.default_rng(1)
    x, y = rng.integers(0, 2, 80).astype(float), rng.integers(0, 2, 80).astype(float)
    assert paired_difference(x, y, list(range(80)), True, ALPHA) == paired_difference(x, y, None, True, ALPHA)


def test_swapping_the_models_mirrors_the_interval():
    rng = np.random.default_rng(2)
    x, y, clusters = rng.random(60), rng.random(60), (np.arange(60) // 3).tolist()
    forth, back = paired_difference(x, y, clusters, False, ALPHA), paired_difference(y, x, clusters, False, ALPHA)
    assert (forth.mean, forth.lower, forth.upper) == pytest.approx((-back.mean, -back.upper, -back.lower))
    assert (forth.better, forth.worse) == (back.worse, back.better)


def test_one_cluster_proves_nothing():
    found = paired_difference([1.0] * 500, [0.0] * 500, ["a"] * 500, True, ALPHA)
    assert (found.lower, found.upper) == (-1, 1)
    assert power_at(0.5, found.se, ALPHA, found.df) == 0


def test_two_clusters_are_the_fewest_that_prove_something():
    clusters = [0, 0, 1, 1]
    candidate, reference = [0.9, 0.8, 0.7, 0.9], [0.1, 0.1, 0.1, 0.1]
    found = paired_difference(candidate, reference, clusters, binary=False, alpha=ALPHA)
    reach = student.ppf(1 - ALPHA, 1) * 0.025  # the clusters' means are 0.75 and 0.70
    assert (found.lower, found.upper) == pytest.approx((0.725 - reach, 0.725 + reach))
    assert mean_bounds(candidate, clusters, False, ALPHA) == pytest.approx((0.825 - reach, 0.825 + reach))


def test_an_absolute_limit_on_clusters_counts_korn_and_graubards_items():
    clusters, size, hits = 6, 4, np.array([4, 4, 3, 0, 4, 1])
    scores = [float(item < of) for of in hits for item in range(size)]
    n, added = clusters * size, size / 2
    centre = (hits.sum() + added) / (n + 2 * added)
    squares = ((hits - size * centre) ** 2).sum() + 2 * added**2 * (centre**2 + (1 - centre) ** 2)
    variance = squares * clusters / (clusters - 1) / (n + 2 * added) ** 2
    factor = student.ppf(1 - ALPHA, n - 1) / student.ppf(1 - ALPHA, clusters - 1)
    items = centre * (1 - centre) / variance * factor**2
    assert items < n / 2
    of = hits.sum() / n * items
    expected = beta.ppf(ALPHA, of, items - of + 1), beta.ppf(1 - ALPHA, of + 1, items - of)
    found = mean_bounds(scores, np.repeat(range(clusters), size).tolist(), True, ALPHA)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("scores", [0.0, 0.5])
def test_equal_outcomes_on_few_items_do_not_prove_a_small_margin(scores):
    for n in (2, 5, 10, 20):
        found = paired_difference([scores] * n, [scores] * n, None, scores == 0, ALPHA)
        assert found.lower < -0.05


def test_power_is_that_of_the_published_table():
    # Paired binary tests at one-sided 5 %: n items with a share of discordant pairs; margin in points.
    for n, discordant, margin, expected in [(1319, 0.15, 2, 0.59), (541, 0.20, 3, 0.47), (250, 0.10, 5, 0.80)]:
        assert power_at(margin / 100, math.sqrt(discordant / n), ALPHA, None) == pytest.approx(expected, abs=0.01)
    assert minimum_detectable(math.sqrt(0.20 / 541), ALPHA, 0.8, None) == pytest.approx(0.048, abs=0.0005)


def test_the_detectable_gap_has_the_power_asked_for():
    for df in (None, 30):
        gap = minimum_detectable(0.03, ALPHA, 0.8, df)
        assert power_at(gap, 0.03, ALPHA, df) == pytest.approx(0.8, abs=0.01)


def test_the_items_needed_are_those_that_the_same_rule_then_asks_for():
    def found(n, better, worse, clusters=None):
        moves = np.r_[np.ones(better), -np.ones(worse), np.zeros(n - better - worse)]
        return paired_difference((moves >= 0) * 1.0, (moves >= 0) - moves, clusters, True, ALPHA)

    # Nothing changed: the fewest items without a change that keep the margin. Half counts are not scaled up with them.
    for n, margin in ((32, 0.02), (200, 0.005)):
        needed = items_needed(found(n, 0, 0), 0.0, -margin, ALPHA, 0.8)
        assert found(needed, 0, 0).lower > -margin >= found(needed - 1, 0, 0).lower
    # 54 and 54 of 541 changed: twice the items with twice the changes are as far from enough.
    needed = items_needed(found(541, 54, 54), 0.0, -0.03, ALPHA, 0.8)
    assert needed == pytest.approx(items_needed(found(1082, 108, 108), 0.0, -0.03, ALPHA, 0.8), abs=2)
    assert power(found(needed, *[round(needed * 54 / 541)] * 2), 0.0, -0.03, ALPHA) == pytest.approx(0.8, abs=0.01)
    # A gain, and clusters: by the standard error at that size.
    gained = found(200, 30, 10)
    needed = items_needed(gained, 0.1, 0.05, ALPHA, 0.8)
    assert power(found(needed, round(needed * 0.15), round(needed * 0.05)), 0.1, 0.05, ALPHA) == pytest.approx(
        0.8, abs=0.01
    )
    pairs = [item // 2 for item in range(200)]
    needed = items_needed(found(200, 20, 20, pairs), 0.0, -0.05, ALPHA, 0.8)
    halves = round(needed / 10)
    again = found(needed, halves, halves, [item // 2 for item in range(needed)])
    assert power(again, 0.0, -0.05, ALPHA) == pytest.approx(0.8, abs=0.02)
    assert items_needed(gained, 0.05, 0.05, ALPHA, 0.8) is None
    # Everything gained: what is uncertain are the half counts alone.
    for threshold in (0.2, 0.4, 0.6):
        needed = items_needed(found(10, 10, 0), 1.0, threshold, ALPHA, 0.8)
        enough, fewer = (power(found(n, n, 0), 1.0, threshold, ALPHA) for n in (needed, needed - 1))
        assert fewer < 0.8 <= enough
    # In clusters these weigh as much as one; as many items as there are suffice just where they have the power.
    for size in range(48, 200, 12):
        seen = found(size, size, 0, [item // 12 for item in range(size)])
        for threshold in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7):
            gap = minimum_detectable(seen.se, ALPHA, 0.8, seen.df)
            assert (items_needed(seen, 1.0, threshold, ALPHA, 0.8) <= size) == (gap <= 1.0 - threshold)


def test_with_fewer_than_two_groups_nothing_can_be_shown():
    assert minimum_detectable(0.01, ALPHA, 0.8, 0.5) == 1.0 and power_at(0.5, 0.01, ALPHA, 0.5) == 0.0


def test_without_any_spread_the_sign_of_the_gap_decides():
    assert [power_at(gap, 0.0, ALPHA, None) for gap in (-0.1, 0.0, 0.1)] == [0.0, 0.0, 1.0]


def _clustered_draws(rng, draws, clusters, size, gain, discordant, share_alike):
    """Paired outcomes in clusters: `share_alike` of the clusters move together; mean difference is `gain`."""
    moves = rng.choice([1, -1, 0], p=[(discordant + gain) / 2, (discordant - gain) / 2, 1 - discordant],
                       size=(draws, clusters, size + 1))  # fmt: skip
    alike = rng.random((draws, clusters, 1)) < share_alike
    x = np.where(alike, moves[..., :1], moves[..., 1:]).reshape(draws, clusters * size)
    base = rng.integers(0, 2, x.shape)
    reference = np.where(x == 0, base, x == -1).astype(float)
    return np.where(x == 0, base, x == 1).astype(float), reference, np.repeat(range(clusters), size).tolist()


@pytest.mark.parametrize("truth", [0.0, -0.10], ids=["superiority", "non-inferiority"])
@pytest.mark.parametrize(
    ("clusters", "size", "alike"), [(150, 1, 0.0), (57, 4, 0.3), (30, 5, 0.6)], ids=["items", "subjects", "prompts"]
)
def test_false_passes_at_the_margin_stay_within_alpha(truth, clusters, size, alike):
    rng = np.random.default_rng([clusters, size, int(-truth * 100)])
    candidate, reference, labels = _clustered_draws(rng, DRAWS, clusters, size, truth, 0.25, alike)
    passes = sum(
        paired_difference(x, y, labels, True, ALPHA).lower > truth for x, y in zip(candidate, reference, strict=True)
    )
    assert passes / DRAWS <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / DRAWS)
    assert passes / DRAWS >= 0.025  # and the test is not merely timid


def test_ignoring_clusters_would_pass_too_often():
    rng = np.random.default_rng(7)
    candidate, reference, _ = _clustered_draws(rng, 2_000, 30, 5, -0.10, 0.25, 0.6)
    passes = sum(
        paired_difference(x, y, None, True, ALPHA).lower > -0.10 for x, y in zip(candidate, reference, strict=True)
    )
    assert passes / 2_000 > 0.08


def test_few_items_with_rare_losses_do_not_pass_falsely():
    # At a true loss of 2 points most samples of 30 have no discordant pair at all: a Wald interval passes them all.
    rng = np.random.default_rng(3)
    losses = (rng.random((2_000, 30)) < 0.02).astype(float)
    passes = sum(paired_difference(1 - row, np.ones(30), None, True, ALPHA).lower > -0.02 for row in losses)
    assert passes == 0


def test_few_alike_clusters_without_a_loss_do_not_pass_falsely():
    # Five clusters of a hundred items that stand or fall together are five observations, not five hundred.
    labels = np.repeat(range(5), 100).tolist()
    assert paired_difference([1.0] * 500, [1.0] * 500, labels, True, ALPHA).lower < -0.20


def test_quantiles_are_students_and_the_normal_ones():
    assert quantile(0.95, None) == pytest.approx(1.644854, abs=1e-6)
    assert quantile(0.95, 10) == pytest.approx(1.812461, abs=1e-6)
