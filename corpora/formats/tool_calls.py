"""Functions that a model may call, and its calls, from the forms they are kept in into one.

Known are OpenAI's (`tools` of `{type, function}`, `tool_calls`, the older `functions` and `function_call`) and that
of glaive as LLaMA-Factory keeps it (`tools` and the turns' words as JSON text). What order the turns of a call
stand in is left to `conversations`, how a template writes them to `models.template`.
"""

import json
from collections.abc import Mapping
from typing import Any

from corpora.reading.row import RowError


def tools_of(fields: Mapping[str, Any]) -> str | None:
    """The row's functions as a JSON list of schemas `{name, …}`, or None. Raises RowError."""
    name = next((name for name in ("tools", "functions") if fields.get(name)), None)
    if name is None:
        return None
    found = loaded(fields[name], f"field '{name}'")
    if isinstance(found, dict):
        found = [found]
    if not isinstance(found, list):
        raise RowError(f"field '{name}' is not a list of functions")
    schemas = [tool.get("function", tool) if isinstance(tool, dict) else None for tool in found]
    if not all(isinstance(schema, dict) and isinstance(schema.get("name"), str) for schema in schemas):
        raise RowError(f"field '{name}' holds a function without a name")
    return _written(schemas, f"field '{name}'") if schemas else None


def calls_of(value: Any, index: int) -> str:
    """The calls of a turn as a JSON list of `{name, arguments}`. Raises RowError.

    value: one call or a list of them, or either as JSON text. index: of the turn, for the message.
    """
    where = f"the tool calls of turn {index}"
    found = loaded(value, where)
    calls = [_call(loaded(call, where), where) for call in (found if isinstance(found, list) else [found])]
    if not calls:
        raise RowError(f"empty turn: turn {index}")
    return _written(calls, where)


def call_ids(value: Any) -> dict[str, str]:
    """The function's name by the id of a call, as far as calls have ids."""
    calls = value if isinstance(value, list) else []
    named = [(call.get("id"), call.get("function") or call) for call in calls if isinstance(call, dict)]
    functions = {key: inner.get("name") for key, inner in named if isinstance(key, str) and isinstance(inner, dict)}
    return {key: name for key, name in functions.items() if isinstance(name, str)}


def _call(call: Any, where: str) -> dict[str, Any]:
    inner = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
        raise RowError(f"no function's name: {where}")
    arguments = inner.get("arguments")
    if isinstance(arguments, str) and arguments.strip():
        arguments = loaded(arguments, where)
    arguments = arguments or {}
    if not isinstance(arguments, dict):
        raise RowError(f"arguments are not an object: {where}")
    return {"name": inner["name"], "arguments": arguments}


def loaded(value: Any, where: str) -> Any:
    """The value, read from JSON if it is text. Raises RowError."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise RowError(f"not JSON: {where}") from None


def _written(value: Any, where: str) -> str:
    """JSON text that a table can hold. NaN is no JSON, and half of a surrogate pair is no text."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (TypeError, ValueError, RecursionError):
        raise RowError(f"not JSON: {where}") from None
    return text
