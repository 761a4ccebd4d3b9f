"""Values that are written out in the words of a text: functions in a system prompt, calls in an answer.

Public data sets write them as JSON, as Python writes a dict, or as JSON whose inner JSON text stands in single
quotes. Which words surround them is said in `glaive` and `hermes`; what they mean in `tool_calls`.
"""

import ast
import json
import re
from typing import Any

from corpora.reading.row import RowError

_QUOTED_ARGUMENTS = re.compile(
    r'\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*\'(.*)\'\s*\}', re.DOTALL
)
_ELEMENTS = re.compile(r"\}\n\s*\{")
_DECODER = json.JSONDecoder()


def call_in(text: str, where: str) -> dict[str, Any]:
    """One call, `{name, arguments}`. Raises RowError."""
    quoted = _QUOTED_ARGUMENTS.fullmatch(text.strip())
    if quoted is None:
        return _object(value_in(text, where), where)
    arguments = quoted[2]
    for written in (arguments, arguments.replace("\\'", "'")):
        try:
            return {"name": json.loads(quoted[1]), "arguments": json.loads(written)}
        except (ValueError, RecursionError):
            continue
    raise RowError(f"not JSON: {where}")


def value_in(text: str, where: str) -> Any:
    """The value that a text is: JSON, or what Python would read as a literal. Raises RowError."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        raise RowError(f"not JSON: {where}") from None


def python_in(text: str) -> Any:
    """What Python wrote for objects, or lists of them, as pandas does into tables; None if it is none. An array
    of numpy has ends of lines, which strings have not, in the place of commas."""
    if not text.lstrip("[ \n").startswith(("{'", '{"')):
        return None
    for written in (text, _ELEMENTS.sub("}, {", text)):
        try:
            return value_in(written, "")
        except RowError:
            continue
    return None


def values_at(text: str) -> tuple[list[dict[str, Any]], str]:
    """The JSON objects, also in lists, that a text begins with, and the words behind them. Raises RowError."""
    found: list[dict[str, Any]] = []
    rest = text.lstrip(" \t\r\n,")
    while rest[:1] in ("{", "["):
        try:
            value, end = _DECODER.raw_decode(rest)
        except (ValueError, RecursionError):
            raise RowError("not JSON: the functions of the system prompt") from None
        found += [_object(one, "the functions of the system prompt") for one in _listed(value)]
        rest = rest[end:].lstrip(" \t\r\n,")
    return found, rest


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RowError(f"not an object: {where}")
    return value
