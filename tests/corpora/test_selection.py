"""Which rows a source gives: quotas met to the unit where the rows allow it, every row once before any twice."""

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora.mixing import selection as selecting
from corpora.mixing.selection import Selection, closest, select

_lengths = st.lists(st.integers(1, 300), min_size=1, max_size=9)


@given(lengths=_lengths, wanted=st.integers(0, 2500))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_no_set_of_rows_is_closer(lengths: list[int], wanted: int) -> None:
    sets = itertools.chain.from_iterable(itertools.combinations(lengths, n) for n in range(len(lengths) + 1))
    best = min(abs(sum(rows) - wanted) for rows in sets)
    assert abs(sum(lengths[index] for index in closest(lengths, wanted)) - wanted) == best


def test_of_equally_good_sets_the_earlier_rows_are_taken() -> None:
    assert closest([5, 5, 5, 5], 10) == [0, 1]
    assert closest([4, 8], 6) == [0]


def test_of_sums_as_far_below_as_above_the_lower_is_taken_also_if_it_is_none() -> None:
    assert closest([4, 6], 5) == [0]
    assert closest([2], 1) == []
    assert closest([7], 3) == []
    assert closest([7], 4) == [0]
    assert closest([3], 0) == []
    assert closest([3, 3], 100) == [0, 1]


@given(lengths=st.lists(st.integers(1, 900), min_size=1, max_size=200), times=st.floats(0.01, 3.5))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_rows_given_hold_what_is_said_and_none_comes_twice_in_a_pass(lengths: list[int], times: float) -> None:
    _hold(lengths, times)


@given(lengths=st.lists(st.integers(1, 900), min_size=40, max_size=200), times=st.floats(0.01, 3.5))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_also_where_a_pass_is_looked_at_in_blocks(lengths: list[int], times: float) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selecting, "_BLOCK", 16)
        _hold(lengths, times)


def _hold(lengths: list[int], times: float) -> None:
    quota = max(1, int(sum(lengths) * times))
    selection = select(np.array(lengths, np.int32), "key", quota)
    rows = selection.slice(0, selection.count)
    assert sum(lengths[row] for row in rows) == selection.units
    assert 2 * abs(selection.units - quota) <= max(lengths)
    passes = quota // sum(lengths)
    assert Counter(rows[: passes * len(lengths)].tolist()) == dict.fromkeys(range(len(lengths)), passes) or passes == 0
    assert max(Counter(rows[passes * len(lengths) :].tolist()).values(), default=1) == 1
    cut = len(rows) // 3
    assert [*selection.slice(0, cut), *selection.slice(cut, len(rows))] == rows.tolist()


@pytest.mark.parametrize("straight", [4, 10, 14, 20, 23])
def test_what_is_given_can_be_cut_anywhere_also_among_the_closing_rows(straight: int) -> None:
    selection = Selection(10, "key", straight, tuple(range(9)), 0)
    rows = selection.slice(0, selection.count).tolist()
    assert len(rows) == straight + 9 and rows[straight:] == [*range(9)]
    for start in range(len(rows) + 1):
        for stop in range(start, len(rows) + 1):
            assert selection.slice(start, stop).tolist() == rows[start:stop]


def test_the_units_of_ordinary_corpora_come_out_exactly() -> None:
    for seed in range(40):
        rng = np.random.default_rng(seed)
        lengths = np.maximum(1, rng.gamma(2.0, 400.0, 5000)).astype(np.int32)
        assert select(lengths, f"{seed}/chat", 1_000_000).units == 1_000_000


def test_very_long_documents_are_met_as_closely_without_great_sets_of_sums() -> None:
    lengths = np.random.default_rng(1).integers(500_000, 2_000_000, 40).astype(np.int32)
    selection = select(lengths, "key", 20_000_000)
    assert abs(selection.units - 20_000_000) <= 500_000


def test_a_selection_stays_as_it_was_when_it_was_first_written_down() -> None:
    """Also where a stretch is shortened because its sums would take too much: the second has half as many rows."""
    long = (356, 135, 50, 122, 244, 234, 366, 327, 105)
    short = (11, 248, 320, 310, 161, 356, 135, 83, 122, 226, 234, 327, 299, 99, 295, 280)
    for size, straight, closing, units in ((40_000, 531, short, 24_573_462), (90_000, 539, long, 51_984_862)):
        lengths = np.random.default_rng(5).integers(size, size + 10_000, 400)
        selection = select(lengths, "golden", int(lengths.sum() * 1.37))
        assert selection == Selection(400, "golden", straight, closing, units)
