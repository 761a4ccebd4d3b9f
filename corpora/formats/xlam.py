"""Calls as xLAM's and APIGen's data keep them: a question, the functions, and the calls that answer it.

`query` is text, `tools` and `answers` are lists, most often as JSON text. A function's parameters are described by name
there, without a JSON schema around them, in Python's words for types; templates and models know the schema, so it is
written out. What is not marked as optional and has no default is required.
"""

from typing import Any

from corpora.formats.conversations import conversation, text_at
from corpora.formats.format import Fields, Format, each
from corpora.formats.items import Conversation, Item
from corpora.formats.tool_calls import calls_of, loaded, tools_of

_TYPES = {
    **{"str": "string", "string": "string", "int": "integer", "integer": "integer", "float": "number"},
    **{"number": "number", "bool": "boolean", "boolean": "boolean", "list": "array", "array": "array"},
    **{"tuple": "array", "set": "array", "dict": "object", "object": "object"},
}
_OPTIONAL = ", optional"


def xlam_fields(fields: Fields) -> str | None:
    held = isinstance(fields.get("query"), str) and all(isinstance(fields.get(n), str | list) for n in _LISTS)
    return "query, tools, answers" if held else None


def read_xlam(fields: Fields) -> Item:
    functions = loaded(fields.get("tools"), "field 'tools'")
    described = [_described(one) for one in functions] if isinstance(functions, list) else functions
    asked = {"role": "user", "content": text_at(fields, "query")}
    called = {"role": "assistant", "content": "", "tool_calls": calls_of(fields.get("answers"), 2)}
    return Conversation(conversation([asked, called]), tools_of({"tools": described}))


def _described(function: Any) -> Any:
    """A function with a schema of its parameters."""
    if not isinstance(function, dict) or not isinstance(parameters := function.get("parameters"), dict):
        return function
    if "properties" in parameters or not all(isinstance(one, dict) for one in parameters.values()):
        return function
    required = [name for name, one in parameters.items() if not _may_lack(one)]
    properties = {name: _typed(one) for name, one in parameters.items()}
    schema = {"type": "object", "properties": properties, **({"required": required} if required else {})}
    return {**function, "parameters": schema}


def _may_lack(parameter: dict[str, Any]) -> bool:
    return "default" in parameter or _OPTIONAL in str(parameter.get("type", ""))


def _typed(parameter: dict[str, Any]) -> dict[str, Any]:
    """With JSON schema's name for the type, where it has one; List[int] is an array."""
    written = parameter.get("type")
    if not isinstance(written, str):
        return parameter
    bare = written.removesuffix(_OPTIONAL).strip()
    return {**parameter, "type": _TYPES.get(bare.partition("[")[0].strip().lower(), bare)}


_LISTS = ("tools", "answers")

FORMATS = (
    Format("xlam", "conversation", "query, tools, answers", xlam_fields, each(read_xlam), frozenset(("answers",))),
)
