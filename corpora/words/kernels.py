"""Texts folded into bytes, each with its kind: what was ASCII and what was not goes the same way from there.

Imports numba when it is imported. The rule is `folding`'s. ASCII takes no branch that could be guessed wrong, a byte
at a time: 0.4 µs for 600 of them.
"""

from typing import Any

import numpy as np
from numba import uint8, uint32, uint64  # noqa: TID253

from corpora.words.compiling import Array, compiled, inlined
from corpora.words.scripts import ALONE, CODE_POINT, DIGIT, HARD, IDEOGRAPHS_FROM, IDEOGRAPHS_TO, SIZE, SPACE, WORD

SPACE_KIND, WORD_KIND, SYMBOL_KIND, DIGIT_KIND = uint8(0), uint8(1), uint8(2), uint8(4)
_NUMBER, _NO_DIGIT = uint8(5), uint8(3)
_NO_KIND = uint8(3)
"""Differs from every kind, also without the bit for digits: whatever follows it begins anew."""
PADDING = 16
"""Bytes behind the last, so that eight can be read from any of them."""

_ONE = uint64(1)


@compiled
def _next(data: Array, at: Any, end: Any, table: Array) -> Any:
    """What `folding.table` says of the character at `at` of UTF-8 text, and where the next one begins."""
    lead = data[at]
    at += _ONE
    code = uint32(lead)
    if lead >= 0xC0:
        code &= uint32(0x1F) if lead < 0xE0 else (uint32(0x0F) if lead < 0xF0 else uint32(0x07))
    while at < end and data[at] & 0xC0 == 0x80:
        code = uint32(code << uint32(6)) | uint32(data[at] & 0x3F)
        at += _ONE
    if code < SIZE:
        return table[code], at
    if IDEOGRAPHS_FROM <= code < IDEOGRAPHS_TO:
        return uint32(code | WORD | ALONE | HARD), at
    return uint32(code | HARD), at


@inlined
def _is_ascii(data: Array, at: Any, end: Any) -> Any:
    seen = uint8(0)
    for byte in data[at:end]:
        seen |= byte
    return seen < 0x80


@compiled
def hard(data: Array, offsets: Array, table: Array) -> Array:
    """Whether each text, data[offsets[i]:offsets[i + 1]], holds a character that `table` cannot fold alone."""
    found = np.zeros(len(offsets) - 1, np.bool_)
    for text in range(len(offsets) - 1):
        at, end = uint64(offsets[text]), uint64(offsets[text + 1])
        if not _is_ascii(data, at, end):
            while at < end and not found[text]:
                entry, at = _next(data, at, end, table)
                found[text] = entry & HARD != 0
    return found


@compiled
def _fold_ascii(data: Array, at: Any, end: Any, made: Any, folded: Array, kinds: Array, begins: Array) -> Any:
    for place in range(end - at):
        byte = data[at + place]
        lower = uint8(byte | uint8(32))
        letter, digit = uint8(lower - uint8(97)) < uint8(26), uint8(byte - uint8(48)) < uint8(10)
        space = (uint8(byte - uint8(9)) < uint8(5)) | (uint8(byte - uint8(28)) < uint8(5))
        kind = _NUMBER if digit else (SPACE_KIND if space else SYMBOL_KIND)
        folded[made + place] = lower if letter else byte
        kinds[made + place] = WORD_KIND if letter else kind
    for place in range(made + _ONE, made + end - at):
        kind = kinds[place]
        begins[place] = ((kind ^ kinds[place - _ONE]) & _NO_DIGIT != SPACE_KIND) | (kind == SYMBOL_KIND)
    return made + end - at


@compiled
def _fold_any(
    data: Array, at: Any, end: Any, made: Any, folded: Array, kinds: Array, begins: Array, table: Array
) -> Any:
    before = SPACE_KIND
    while at < end:
        entry, at = _next(data, at, end, table)
        code, first = uint32(entry & CODE_POINT), made
        if code < 0x80:
            folded[made] = code
            made += _ONE
        else:
            more = uint32(1) if code < 0x800 else (uint32(2) if code < 0x10000 else uint32(3))
            folded[made] = uint8((uint32(0xF00) >> more) | (code >> (uint32(6) * more)))
            made += _ONE
            while more:
                more -= uint32(1)
                folded[made] = uint8(uint32(0x80) | (code >> (uint32(6) * more)) & uint32(0x3F))
                made += _ONE
        kind = WORD_KIND if entry & WORD else (SPACE_KIND if entry & SPACE else SYMBOL_KIND)
        begins[first] = kind != before & _NO_DIGIT or kind == SYMBOL_KIND or entry & ALONE != 0
        kinds[first:made] = kind | DIGIT_KIND if entry & DIGIT else kind
        begins[first + _ONE : made] = 0
        before = _NO_KIND if entry & ALONE else kind
    return made


@compiled
def fold(data: Array, offsets: Array, order: Array, table: Array) -> tuple[Array, Array, Array, Array]:
    """The texts data[offsets[i]:offsets[i + 1]] for i of `order`, folded, one behind the other.

    Returns the bytes and the kind of each (uint8, padded), where texts begin, and where words, other characters and
    runs of white space begin (int64 and int32; each with the end behind the last).
    """
    size = 0
    for text in order:
        size += offsets[text + 1] - offsets[text]
    size += size // 2  # a lower-case letter may take three bytes for two
    folded, kinds = np.empty(size + PADDING, np.uint8), np.empty(size + PADDING, np.uint8)
    begins = np.empty(size, np.uint8)
    texts = np.zeros(len(order) + 1, np.int64)
    made = uint64(0)
    for place in range(len(order)):
        at, end = uint64(offsets[order[place]]), uint64(offsets[order[place] + 1])
        first = made
        if _is_ascii(data, at, end):
            made = _fold_ascii(data, at, end, made, folded, kinds, begins)
        else:
            made = _fold_any(data, at, end, made, folded, kinds, begins, table)
        if made > first:
            begins[first] = 1
        texts[place + 1] = made
    pieces = np.empty(made + _ONE, np.int32)
    count = 0
    for at in range(made):
        pieces[count] = at
        count += begins[at]
    pieces[count] = made
    return folded, kinds, texts, pieces[: count + 1]
