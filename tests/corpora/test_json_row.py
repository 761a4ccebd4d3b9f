"""The strict reader of one object: as quick as it may be, and never more lenient for it."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpora.reading.json_row import DEEPEST, _fast, _strict, parse_row
from corpora.reading.row import RowError

TEXTS = st.text(st.sampled_from(list('ab:"\\/ \n\t{}[],é\U0001f600\x00')), max_size=8)
NUMBERS = st.one_of(
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 1e16, 2.0**53]),
)
VALUES = st.recursive(
    st.one_of(TEXTS, NUMBERS, st.booleans(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=8,
)
FRAGMENTS = (
    *('"a"', '"a:"', '":"', '"\\""', '"\\\\"', '"\\u003a"', '"\\ud83d\\ude00"', '"\\ud800"', ":", " :", "\t: ", ","),
    *("{", "}", "[", "]", "1", "-0", "1e999", "NaN", "18446744073709551616", "9007199254740993.0", "0.1", "null"),
)


def outcome(read: Any, raw: bytes) -> Any:
    try:
        return json.dumps(read(raw))
    except RowError as error:
        return str(error)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.dictionaries(TEXTS, VALUES, max_size=4), st.booleans(), st.sampled_from([None, (",", ":"), (" , ", " : ")]))
def test_the_quick_way_gives_what_the_strict_one_gives(
    value: dict[str, Any], ascii_only: bool, separators: Any
) -> None:
    raw = json.dumps(value, ensure_ascii=ascii_only, separators=separators).encode()
    assert outcome(parse_row, raw) == outcome(lambda raw: _strict(raw.decode()), raw)
    assert json.loads(outcome(parse_row, raw)) == json.loads(raw)


@settings(max_examples=400, derandomize=True, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=9))
def test_both_ways_refuse_the_same_texts_for_the_same_reason(fragments: list[str]) -> None:
    raw = ("{" + "".join(fragments) + "}").encode()
    assert outcome(parse_row, raw) == outcome(lambda raw: _strict(raw.decode()), raw)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":1,"a":2}',
        b'{"a":{"b":1,"b":2},"c":":"}',
        b'{"a:":1,"\\u0061:":2}',
        b'{"a":"\\u003a","b":1,"b":2}',
        b'{"x":[{"a":1,"a":1}]}',
        b'{"a\\\\":1,"b":1,"b":2}',
    ],
)
def test_a_key_twice_is_never_taken_for_one(raw: bytes) -> None:
    assert _fast(raw) is None
    with pytest.raises(RowError, match="a key twice in one object"):
        parse_row(raw)


def test_ordinary_rows_take_the_quick_way() -> None:
    row = {"messages": [{"role": "user", "content": 'He said: "no": 1\n'}], "n": 12, "x": 0.5, "none": None}
    assert _fast(json.dumps(row).encode()) == row


@pytest.mark.parametrize("number", ["18446744073709551616", "123456789012345678901234567890", "9007199254740993"])
def test_large_integers_keep_every_digit(number: str) -> None:
    assert parse_row(f'{{"n": {number}}}'.encode()) == {"n": int(number)}


@pytest.mark.parametrize("depth", [DEEPEST, DEEPEST + 1, 900, 5000])
def test_nesting_has_one_limit_wherever_it_is_read(depth: int) -> None:
    raw = b'{"a":' + b"[" * (depth - 1) + b"1" + b"]" * (depth - 1) + b"}"
    if depth == DEEPEST:
        assert parse_row(raw)
    else:
        with pytest.raises(RowError, match="nested too deeply"):
            parse_row(raw)
