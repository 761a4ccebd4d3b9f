"""Every rule of the gate at the margin: of 10,000 draws it passes no more than its 5 %, and three standard errors.

The truth lies exactly on the threshold, so every pass is a false one. (Paired tests with clusters of one size:
test_statistics.)
"""

import gc
import math

import numpy as np
import pytest

from evaluation.statistics.statistics import holm, mean_bounds, p_value, paired_difference, quantile

DRAWS = 10_000
ALPHA = 0.05
AT_MOST = ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / DRAWS)


@pytest.mark.parametrize("truth", [0.0, -0.10], ids=["superiority", "non-inferiority"])
def test_clusters_of_uneven_size(truth):
    rng = np.random.default_rng(11)
    passes, each = 0, 250
    for _ in range(DRAWS // each):
        labels = np.repeat(np.arange(30), 1 + rng.geometric(0.15, 30))
        p = [(0.25 + truth) / 2, (0.25 - truth) / 2, 0.75]
        alone, shared = (
            rng.choice([1, -1, 0], p=p, size=(each, len(labels))),
            rng.choice([1, -1, 0], p=p, size=(each, 30)),
        )
        moves = np.where((rng.random((each, 30)) < 0.3)[:, labels], shared[:, labels], alone)
        named = labels.tolist()
        candidates = (moves >= 0).astype(float)
        passes += sum(
            paired_difference(x, x - move, named, True, ALPHA).lower > truth
            for x, move in zip(candidates, moves, strict=True)
        )
    assert passes / DRAWS <= AT_MOST


@pytest.mark.parametrize(
    ("floor", "clusters", "size", "alike"),
    [(0.95, 52, 1, 0.0), (0.5, 80, 1, 0.0), (0.9, 30, 5, 0.5), (0.2, 57, 4, 0.3)],
)
def test_floors_and_ceilings(floor, clusters, size, alike):
    rng = np.random.default_rng([clusters, size])
    together = rng.random((DRAWS, clusters, 1)) < alike
    scores = np.where(
        together, rng.random((DRAWS, clusters, 1)) < floor, rng.random((DRAWS, clusters, size)) < floor
    ).reshape(DRAWS, -1)
    labels = np.repeat(range(clusters), size).tolist()
    away = abs(scores.mean(axis=1) - floor) > math.sqrt(floor * (1 - floor) / clusters / size)
    bounds = [mean_bounds(row, labels, True, ALPHA) for row in scores[away]]  # no bound is nearer to its mean than that
    assert sum(low >= floor for low, _ in bounds) / DRAWS <= AT_MOST
    assert sum(high <= floor for _, high in bounds) / DRAWS <= AT_MOST


def test_any_of_three_targets(monkeypatch):
    monkeypatch.setattr(gc, "collect", lambda: 0)  # statsmodels does it in every call: 60 ms
    rng = np.random.default_rng(13)
    n, passes, uncorrected = 80, 0, 0
    for _ in range(DRAWS):
        moves = rng.choice([1, -1, 0], p=[0.125, 0.125, 0.75], size=(3, n))
        pairs = [((row >= 0).astype(float), (row >= 0) - row.astype(float)) for row in moves]
        alone = [paired_difference(x, y, None, True, ALPHA) for x, y in pairs]
        if max(found.lower for found in alone) <= 0:
            continue  # Holm is never more generous than no correction
        uncorrected += 1
        steps = holm([p_value(found, 0.0, ALPHA) for found in alone], ALPHA)
        passes += any(
            paired_difference(x, y, None, True, step.level).lower > 0 for (x, y), step in zip(pairs, steps, strict=True)
        )
    assert passes / DRAWS <= AT_MOST
    assert uncorrected / DRAWS > 0.1  # without Holm it would not hold


def _rare_losses(rng):
    """60 items of which one in ten loses half or more: skewed, so that Student's t alone passes far too much."""
    losses = np.where(rng.random((DRAWS, 60)) < 0.1, rng.uniform(0.5, 1, (DRAWS, 60)), 0.0)
    return -losses, np.arange(60), -0.075


def _noisy_clusters(rng):
    """30 clusters of 5 graded answers, about normal."""
    moves = -0.1 + rng.normal(0, 0.1, (DRAWS, 30, 1)) + rng.normal(0, 0.2, (DRAWS, 30, 5))
    return np.clip(moves, -1, 0.8).reshape(DRAWS, -1), np.repeat(np.arange(30), 5), -0.1


@pytest.mark.parametrize("draw", [_rare_losses, _noisy_clusters])
def test_graded_scores(draw):
    moves, labels, truth = draw(np.random.default_rng(17))
    clusters = labels[-1] + 1
    means = moves.reshape(DRAWS, clusters, -1).mean(axis=2)
    students = means.mean(axis=1) - quantile(1 - ALPHA, clusters - 1) * means.std(axis=1, ddof=1) / math.sqrt(clusters)
    passing = np.flatnonzero(students > truth)
    passes = 0
    for row in passing:  # the bound is never above Student's, so no other draw can pass
        found = paired_difference(np.ones(len(labels)) + np.minimum(moves[row], 0), 1 - np.maximum(moves[row], 0),
                                  labels.tolist(), False, ALPHA)  # fmt: skip
        assert found.lower <= students[row] + 1e-9
        passes += found.lower > truth
    assert passes / DRAWS <= AT_MOST
    assert len(passing) / DRAWS > 0.04
