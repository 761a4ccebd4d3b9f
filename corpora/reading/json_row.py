"""One JSON object from its text, strictly: what a lenient reader would change without a word is an error. A list of
objects is one as well, of a `conversation`.

Refused are a key twice in one object, NaN and infinities, half of a surrogate pair, and nesting deeper than
`DEEPEST`. orjson reads three times as fast as the standard library but keeps the last of two equal keys and turns
large integers into floats; so its answer is taken only where it cannot have done either, and the standard library
decides everything else, which makes both ways give the same.
"""

import json
import math
import re
from typing import Any

import orjson

from corpora.reading.row import RowError
from corpora.reading.streams import decode

DEEPEST = 100
"""Objects and lists inside one another; far below the recursion limits that differ between readers."""

_EXACT = 2.0**53
"""Above it a float may be an integer that orjson rounded."""

_NEVER = -(1 << 60)

_ESCAPED_COLON = re.compile(rb"\\u003[aA]")


class NotJson(RowError):
    """A text that is no JSON at all."""


def parse_row(raw: bytes, encoding: str = "utf-8") -> dict[str, Any]:
    """The object. Raises RowError, whose message never quotes the text."""
    if encoding == "utf-8":
        found = _fast(raw)
        if found is not None:
            return found
    return _strict(decode(raw, encoding))


def _fast(raw: bytes) -> dict[str, Any] | None:
    """orjson's answer if it is surely the strict one.

    Each key has a colon after it and all other colons are inside strings. So if a text without escaped colons has
    as many of them as the answer has keys and colons in its strings, no key was dropped.
    """
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    if type(value) is not dict or raw.count(b":") != _colons(value, 1) or _ESCAPED_COLON.search(raw):
        return None
    return value


def _colons(value: Any, depth: int) -> int:
    """Colons needed to write a value; less than 0 if it is too deep or has a number that orjson may have rounded."""
    if depth > DEEPEST:
        return _NEVER
    if type(value) is dict:
        found = len(value) + "".join(value).count(":")
        members = value.values()
    else:
        found, members = 0, value
    for member in members:
        kind = type(member)
        if kind is str:
            found += member.count(":")
        elif kind is dict or kind is list:
            found += _colons(member, depth + 1)
        elif kind is float and not -_EXACT < member < _EXACT:
            return _NEVER
    return found


def _strict(text: str) -> dict[str, Any]:
    value = value_of(text)
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        return {"conversation": value}
    if not isinstance(value, dict):
        mend = ' (write a list of turns as {"messages": […]})' if isinstance(value, list) else ""
        raise RowError(f"not a JSON object but a {type(value).__name__}{mend}")
    return value


def value_of(text: str) -> Any:
    """Whatever JSON says, as strictly. Raises RowError, `NotJson` if it is none."""
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as error:
        raise NotJson(f"not valid JSON: {error.msg} at character {error.pos}") from None
    except UnicodeEncodeError:
        raise RowError("half of a surrogate pair") from None
    except RecursionError:
        raise RowError("nested too deeply") from None
    except ValueError:
        raise RowError("a number that is too long") from None
    if not _shallow(value, 1):
        raise RowError("nested too deeply")
    return value


def _shallow(value: Any, depth: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    members = value.values() if isinstance(value, dict) else value
    return depth <= DEEPEST and all(_shallow(member, depth + 1) for member in members)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise RowError("a key twice in one object")
    return value


def _no_constant(name: str) -> float:
    raise RowError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise RowError("a number that is too large")
    return number
