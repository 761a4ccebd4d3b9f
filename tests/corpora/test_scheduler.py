"""The deficit scheduler and the keyed permutation: bounds at every prefix, orders that are bijections."""

import itertools
import random
from collections.abc import Iterator

import pytest

from corpora.mixing.permutation import Permutation
from corpora.mixing.scheduler import error_bound, schedule

ROUNDING = 1e-6


def endless(member: int, rng: random.Random, longest: int) -> Iterator[tuple[int, int]]:
    while True:
        yield rng.randint(1, longest), member


@pytest.mark.parametrize("seed", range(25))
def test_no_member_strays_from_its_share_beyond_the_bound_at_any_prefix(seed: int) -> None:
    rng = random.Random(seed)
    members = rng.randint(2, 6)
    raw = [rng.random() ** 3 + 0.01 for _ in range(members)]
    shares = [value / sum(raw) for value in raw]
    longest = [rng.choice((1, 10, 500, 8000)) for _ in range(members)]
    streams = [endless(member, rng, longest[member]) for member in range(members)]
    emitted, total, largest = [0] * members, 0, max(longest)
    for units, member in itertools.islice(schedule(shares, streams), 3000):
        emitted[member] += units
        total += units
        for share, own in zip(shares, emitted, strict=True):
            assert own - share * total <= largest + ROUNDING
            assert share * total - own <= (members - 1) * largest + ROUNDING
            assert abs(own / total - share) <= error_bound(members, largest, total) + ROUNDING


@pytest.mark.parametrize("seed", range(10))
def test_the_bound_on_groups_holds_however_many_sources_they_have(seed: int) -> None:
    rng = random.Random(seed)
    inner = [schedule([0.5, 0.3, 0.2], [endless(g, rng, 900) for _ in range(3)]) for g in range(2)]
    emitted, total = [0, 0], 0
    for units, group in itertools.islice(schedule([0.7, 0.3], inner), 2000):
        emitted[group] += units
        total += units
        assert abs(emitted[0] - 0.7 * total) <= 900 + ROUNDING


def test_ties_go_to_the_first_and_equal_rows_alternate() -> None:
    picks = schedule([0.5, 0.5], [iter([(1, 0)] * 3), iter([(1, 1)] * 3)])
    assert [member for _, member in picks] == [0, 1, 0, 1, 0, 1]


def test_the_row_that_reaches_the_size_is_the_last() -> None:
    assert [units for units, _ in schedule([1.0], [iter([(4, 0)] * 9)], size=10)] == [4, 4, 4]


def test_a_stream_that_ends_leaves_the_rest_to_the_others() -> None:
    picks = list(schedule([0.5, 0.5], [iter([(1, 0)]), iter([(1, 1)] * 4)]))
    assert sorted(picks) == [(1, 0), *[(1, 1)] * 4]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 16, 17, 1000, 4095, 4097])
def test_a_permutation_visits_every_place_once(size: int) -> None:
    assert sorted(Permutation(size, "key").slice(0, size).tolist()) == list(range(size))


def test_a_slice_is_the_same_as_that_part_of_the_whole() -> None:
    permutation = Permutation(1000, "key")
    assert permutation.slice(300, 400).tolist() == permutation.slice(0, 1000).tolist()[300:400]


def test_other_keys_give_other_orders_and_none_is_close_to_sorted() -> None:
    orders = [Permutation(1000, key).slice(0, 1000).tolist() for key in ("1/a/0", "1/a/1", "2/a/0", "1/b/0")]
    assert len({tuple(order) for order in orders}) == 4
    for order in orders:
        assert sum(b == a + 1 for a, b in itertools.pairwise(order)) < 10
        assert abs(sum(order[:500]) / 500 - 499.5) < 60


def test_every_place_is_about_equally_likely_for_an_element() -> None:
    places = [Permutation(10, f"seed {seed}").slice(0, 10).tolist().index(3) for seed in range(2000)]
    counts = [places.count(place) for place in range(10)]
    assert min(counts) > 140 and max(counts) < 260


def test_places_beyond_the_size_are_refused() -> None:
    with pytest.raises(IndexError):
        Permutation(10, "key").slice(5, 11)
