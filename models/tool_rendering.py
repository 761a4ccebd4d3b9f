"""Tool calls as chat templates read them, and whether a template can express them at all."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from models.messages import Message
from models.turns import Rendered

PROBE_TOOLS = json.dumps(
    [
        {
            "name": "probe_function",
            "description": "probe_description",
            "parameters": {"type": "object", "properties": {"probe_key": {"type": "string", "description": "a key"}}},
        }
    ]
)
PROBE: list[Message] = [
    {"role": "user", "content": "probe_question"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": json.dumps([{"name": "probe_function", "arguments": {"probe_key": "probe_value"}}]),
    },
    {"role": "tool", "content": "probe_result", "name": "probe_function"},
    {"role": "assistant", "content": "probe_answer"},
]
"""A conversation with everything that a template must write: functions, a call, its result, an answer."""


def has_tools(messages: Sequence[Message], tools: str | None) -> bool:
    """Whether a conversation has functions, calls or results of calls."""
    return tools is not None or any(m["role"] == "tool" or m.get("tool_calls") is not None for m in messages)


def in_openai_form(message: Mapping[str, str | None]) -> dict[str, Any]:
    """A message in the form that templates agree on, OpenAI's; fields that a table holds as None are not there."""
    plain: dict[str, Any] = {name: value for name, value in message.items() if value is not None and name != "weight"}
    if "tool_calls" in plain:
        plain["tool_calls"] = [{"type": "function", "function": call} for call in json.loads(plain["tool_calls"])]
    return plain


def tools_for_template(tools: str | None) -> list[dict[str, Any]] | None:
    return None if tools is None else [{"type": "function", "function": schema} for schema in json.loads(tools)]


def missing_from_probe(rows: Sequence[Rendered]) -> str | None:
    """What of `PROBE` a template left out of its place, by the rows that it is learned in; None if nothing."""
    first, last = rows[0], rows[-1]
    (call_start, call_end), (answer_start, _) = first.spans[0], last.spans[-1]
    places = {
        "functions": ("probe_description", first.text[:call_start]),
        "calls": ("probe_value", first.text[call_start:call_end]),
        "calls' names": ("probe_function", first.text[call_start:call_end]),
        "results": ("probe_result", last.text[:answer_start]),
    }
    return next((what for what, (mark, place) in places.items() if mark not in place), None)
