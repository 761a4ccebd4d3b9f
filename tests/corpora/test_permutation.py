"""The keyed permutation: a bijection, any part of it alone, another order for another key."""

import itertools

import pytest

from corpora.mixing.selection import Permutation


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 16, 17, 1000, 4095, 4097])
def test_a_permutation_visits_every_place_once(size: int) -> None:
    assert sorted(Permutation(size, "key").slice(0, size).tolist()) == list(range(size))


def test_a_slice_is_the_same_as_that_part_of_the_whole() -> None:
    permutation = Permutation(1000, "key")
    assert permutation.slice(300, 400).tolist() == permutation.slice(0, 1000).tolist()[300:400]


def test_an_order_stays_as_it_was_when_it_was_first_written_down() -> None:
    assert Permutation(10, "17/chat/0").slice(0, 10).tolist() == [5, 6, 1, 0, 2, 9, 8, 4, 7, 3]
    assert [Permutation(size, "golden/0").slice(0, size).tolist() for size in (2, 3)] == [[1, 0], [1, 0, 2]]


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
