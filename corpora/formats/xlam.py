"""Calls as xLAM's and APIGen's data keep them: a question, the functions, and the calls that answer it.

`query` is text, `tools` and `answers` are lists, most often as JSON text. A function's parameters are described by name
there, without a JSON schema around them, in Python's words for types; templates and models know the schema, so it is
written out. What is not marked as optional and has no default is required.
"""

import re
from typing import Any

from corpora.formats.conversations import conversation, text_at, with_row_thoughts, with_system
from corpora.formats.format import Fields, Format, each
from corpora.formats.items import Conversation, Item
from corpora.formats.learning import weight_of
from corpora.formats.tool_calls import calls_in, calls_of, holds_any, loaded, tools_of
from corpora.reading.row import RowError

_TYPES = {
    **{"str": "string", "string": "string", "int": "integer", "integer": "integer", "float": "number"},
    **{"number": "number", "bool": "boolean", "boolean": "boolean", "list": "array", "array": "array"},
    **{"tuple": "array", "set": "array", "dict": "object", "object": "object"},
}
_OPTIONAL = re.compile(r"\s*(?:,\s*optional|\(\s*optional\s*\))\s*$", re.IGNORECASE)
_MAYBE = re.compile(r"optional\[(.*)\]|union\[(.*),\s*none\s*\]|(.*)\|\s*none", re.IGNORECASE | re.DOTALL)


def xlam_fields(fields: Fields) -> str | None:
    held = isinstance(fields.get("query"), str) and all(isinstance(fields.get(n), str | list) for n in _LISTS)
    return "query, tools, answers" if held else None


def read_xlam(fields: Fields) -> Item:
    functions = loaded(fields["tools"], "field 'tools'") if holds_any(fields.get("tools")) else None
    described = [_described(one) for one in functions] if isinstance(functions, list) else functions
    asked = {"role": "user", "content": text_at(fields, "query")}
    held = fields.get("answers")
    if not holds_any(held):
        raise RowError(
            "field 'answers' has no call, and nothing that is said instead: to learn when not to call, write such rows "
            "as `messages` whose answer is in words, with `tools`"
        )
    called = {"role": "assistant", "content": with_row_thoughts(fields, ""), "tool_calls": calls_of(held, 2)}
    called |= weight_of({}, calls_in(held, 2), 2)
    return Conversation(conversation(with_system(fields, [asked, called])), tools_of({"tools": described}))


def _described(function: Any) -> Any:
    """A function with a schema of its parameters."""
    if isinstance(function, dict) and isinstance(inner := function.get("function"), dict):
        return {**function, "function": _described(inner)}
    if not isinstance(function, dict) or not isinstance(parameters := function.get("parameters"), dict):
        return function
    if _is_schema(parameters) or not all(isinstance(one, dict) for one in parameters.values()):
        return function
    required = [name for name, one in parameters.items() if not _may_lack(one)]
    bare = {name: {key: of for key, of in one.items() if key != "required"} for name, one in parameters.items()}
    properties = {name: _typed(one) for name, one in bare.items()}
    schema = {"type": "object", "properties": properties, **({"required": required} if required else {})}
    return {**function, "parameters": schema}


def _is_schema(parameters: dict[str, Any]) -> bool:
    """Whether parameters are described by a JSON schema already; one of them may be called `properties`, too."""
    inside = parameters.get("properties")
    return isinstance(inside, dict) and all(isinstance(one, dict) for one in inside.values())


def _may_lack(parameter: dict[str, Any]) -> bool:
    written = str(parameter.get("type", "")).strip()
    return (
        "default" in parameter
        or parameter.get("required") is False
        or bool(_OPTIONAL.search(written) or _MAYBE.fullmatch(written))
    )


def _typed(parameter: dict[str, Any]) -> dict[str, Any]:
    """With JSON schema's name for the type, where it has one; List[int] is an array, Union[int, str] one of two."""
    written = parameter.get("type")
    if not isinstance(written, str):
        return parameter
    bare = _OPTIONAL.sub("", written).strip()
    maybe = _MAYBE.fullmatch(bare)
    union = re.fullmatch(r"union\[(.*)\]", bare, re.IGNORECASE | re.DOTALL)
    bare = next(filter(None, maybe.groups()), "").strip() if maybe else union[1] if union else bare
    several = [bare] if "[" in bare else re.split(r"[,|]" if maybe or union else r"\|", bare)
    names = [_name(one) for one in several]
    return {**parameter, "type": names[0] if len(names) == 1 else names}


def _name(written: str) -> str:
    return _TYPES.get(written.partition("[")[0].strip().lower(), written.strip())


_LISTS = ("tools", "answers")

FORMATS = (
    Format("xlam", "conversation", "query, tools, answers", xlam_fields, each(read_xlam), frozenset(("answers",))),
)
