"""Functions that a model may call, and its calls, from the forms they are kept in into one.

Known are OpenAI's (`tools` of `{type, function}`, `tool_calls`, the older `functions` and `function_call`) and that
of glaive as LLaMA-Factory keeps it (`tools` and the turns' words as JSON text). What order the turns of a call
stand in is left to `conversations`, how a template writes them to `models.template`.
"""

import json
from collections.abc import Mapping
from typing import Any

from corpora.formats.tool_text import python_in
from corpora.reading.json_row import NotJson, value_of
from corpora.reading.row import RowError

_ARGUMENTS = ("arguments", "parameters", "input", "args")
"""What a call's arguments are called by OpenAI, by Llama's models and by Anthropic."""
FUNCTIONS = ("tools", "functions")
"""Fields of a row that hold functions."""
_SCHEMAS = ("input_schema", "inputSchema")
"""What Anthropic and MCP call a function's parameters."""
_NOTHING = ("", "null", "none", "nan", "[]", "{}", "[null]", "[none]")
"""Text of a table without types that holds no calls and no functions."""
_LONG = 32
"""Characters of a text that says more than nothing."""


def holds_any(value: Any) -> bool:
    """Whether a field holds calls or functions: none are an empty list, nulls, and text of either."""
    return bool(value) and not (_is_nothing(value) if isinstance(value, str) else _is_null(value))


def _is_nothing(value: Any) -> bool:
    """Whether a value is text that holds none."""
    return isinstance(value, str) and len(value) < _LONG and value.strip().lower() in _NOTHING


def _is_null(value: Any) -> bool:
    if not isinstance(value, list | dict):
        return value is None
    for one in value if isinstance(value, list) else value.values():  # noqa: SIM110, as `all` takes twice as long
        if not _is_null(one):
            return False
    return True


def tools_of(fields: Mapping[str, Any]) -> str | None:
    """The row's functions as a JSON list of schemas `{name, …}`, or None. Raises RowError."""
    held = {
        name: _schemas(fields[name], f"field '{name}'")
        for name in FUNCTIONS
        if fields.get(name) and holds_any(fields[name])
    }
    if len(set(held.values())) > 1:
        raise RowError("functions twice, which differ: in tools and functions")
    return next(iter(held.values()), None)


def functions_of(tools: str | None) -> list[str]:
    """The names of functions."""
    return [schema["name"] for schema in json.loads(tools or "[]")]


def one_of(beside: str | None, within: str | None) -> str | None:
    """The functions of a row that has them in two places. Raises RowError if they are not the same."""
    if beside and within and functions_of(beside) != functions_of(within):
        raise RowError("functions twice, which differ: beside the turns and in the system prompt")
    return beside or within


def _schemas(value: Any, where: str) -> str | None:
    found = loaded(value, where)
    if isinstance(found, dict):
        found = [found]
    if not isinstance(found, list):
        raise RowError(f"{where} is not a list of functions")
    schemas = [_schema(loaded(tool, where)) for tool in found]
    if not all(isinstance(schema, dict) and isinstance(schema.get("name"), str) for schema in schemas):
        raise RowError(f"{where} holds a function without a name")
    return _written(schemas, where) if schemas else None


def _schema(tool: Any) -> Any:
    """A function out of what says that it is one, in either of OpenAI's forms or in Anthropic's, whose schema is under
    the name that templates read."""
    if not isinstance(tool, dict):
        return None
    if "function" in tool:
        tool = tool["function"]
    elif tool.get("type") == "function":
        tool = {name: value for name, value in tool.items() if name != "type"}
    if isinstance(tool, dict) and "parameters" not in tool and (own := [name for name in _SCHEMAS if name in tool]):
        return {"parameters" if name == own[0] else name: value for name, value in tool.items()}
    return tool


def calls_of(value: Any, index: int) -> str:
    """The calls of a turn as a JSON list of `{name, arguments}`. Raises RowError.

    value: one call or a list of them, or either as JSON text. index: of the turn, for the message.
    """
    where = f"the tool calls of turn {index}"
    calls = [_call(call, where) for call in calls_in(value, index)]
    if not calls:
        raise RowError(f"empty turn: turn {index}")
    return _written(calls, where)


def calls_in(value: Any, index: int) -> list[Any]:
    """The same calls as they are, read from JSON where they are text. Raises RowError."""
    where = f"the tool calls of turn {index}"
    found = loaded(value, where)
    return [_opened(loaded(call, where), where) for call in (found if isinstance(found, list) else [found])]


def _opened(call: Any, where: str) -> Any:
    inside = call.get("function") if isinstance(call, dict) else None
    return {**call, "function": loaded(inside, where)} if isinstance(inside, str) else call


def call_ids(value: Any, index: int) -> dict[str, str]:
    """The function's name by the id of a call, which may be a number, as text; none where two calls have one id.

    value, index: as of `calls_of`. Raises RowError.
    """
    calls = (
        [call for call in calls_in(value, index) if isinstance(call, dict)] if value and not _is_nothing(value) else []
    )
    named = [(id_of(call.get("id")), call.get("function") or call) for call in calls]
    found = [(key, inner.get("name")) for key, inner in named if key is not None and isinstance(inner, dict)]
    functions = {key: name for key, name in found if isinstance(name, str)}
    return functions if len(functions) == len(found) else {}


def id_of(value: Any) -> str | None:
    """An id as text, if there is one."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value) or None


def _call(call: Any, where: str) -> dict[str, Any]:
    inner = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(inner, dict) or not isinstance(inner.get("name"), str):
        raise RowError(f"no function's name: {where}")
    held = [_arguments(inner[name], where) for name in _ARGUMENTS if name in inner]
    given = [arguments for arguments in held if arguments]
    if any(arguments != given[0] for arguments in given):
        raise RowError(f"arguments twice, which differ: {where}")
    return {"name": inner["name"], "arguments": given[0] if given else {}}


def _arguments(value: Any, where: str) -> dict[str, Any]:
    """An object, also of JSON text; null, empty text and PHP's empty list are an empty one. Raises RowError."""
    found = loaded(value, where) if isinstance(value, str) and value.strip() else value
    if found is None or found == [] or (isinstance(found, str) and not found.strip()):
        return {}
    if not isinstance(found, dict):
        raise RowError(f"arguments are not an object: {where}")
    return found


def loaded(value: Any, where: str) -> Any:
    """The value, read from JSON if it is text, or from what Python wrote for objects. Raises RowError."""
    if not isinstance(value, str):
        return value
    try:
        return value_of(value)
    except NotJson:
        if (found := python_in(value)) is not None:
            return found
        raise RowError(f"not JSON: {where}") from None
    except RowError as error:
        raise RowError(f"{error}: {where}") from None


def _written(value: Any, where: str) -> str:
    """JSON text that a table can hold. NaN is no JSON, and half of a surrogate pair is no text."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (TypeError, ValueError, RecursionError):
        raise RowError(f"not JSON: {where}") from None
    return text
