"""Tool calls as chat templates read them, and where the assistant's turns lie in a text with such calls.

A template writes a call in words of its own, so these turns cannot be found by their words, as `template` finds
those of plain conversations. They are found by what stands around every turn: the header that invites the
assistant to speak, which holds a special token, and the end-of-turn token. A message that spells one of these is
left out before it comes here.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from lineage.errors import CorpusError
from models.messages import Message

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


def for_template(message: Mapping[str, str | None]) -> dict[str, Any]:
    """A message in the form that templates agree on, OpenAI's; fields that a table holds as None are not there."""
    plain: dict[str, Any] = {name: value for name, value in message.items() if value is not None}
    if "tool_calls" in plain:
        plain["tool_calls"] = [{"type": "function", "function": call} for call in json.loads(plain["tool_calls"])]
    return plain


def tools_for_template(tools: str | None) -> list[dict[str, Any]] | None:
    return None if tools is None else [{"type": "function", "function": schema} for schema in json.loads(tools)]


def spans_by_headers(
    text: str, messages: Sequence[Message], header: str, end_of_turn: str, name: str
) -> list[tuple[int, int]]:
    """The span of each assistant turn after its header, up to and with its end of turn. Raises CorpusError.

    name: of the checkpoint, for the message.
    """
    spans, place = [], 0
    for message in messages:
        if message["role"] != "assistant":
            continue
        found = text.find(header, place)
        end = text.find(end_of_turn, found + len(header))
        if found < 0 or end < 0 or message["content"] not in text[found:end]:
            raise CorpusError(
                f"{name}: its chat template leaves out or changes a turn of the assistant beside tool calls; "
                "give one that copies its words in model.chat_template"
            )
        place = end + len(end_of_turn)
        spans.append((found + len(header), place))
    if header in text[place:]:
        raise CorpusError(f"{name}: its chat template writes turns of the assistant that the conversation has not")
    return spans


def missing_from_probe(text: str, spans: Sequence[tuple[int, int]]) -> str | None:
    """What of `PROBE` a template left out of the place where it belongs; None if nothing."""
    (call_start, call_end), (answer_start, _) = spans
    places = {
        "functions": ("probe_description", text[:call_start]),
        "calls": ("probe_value", text[call_start:call_end]),
        "calls' names": ("probe_function", text[call_start:call_end]),
        "results": ("probe_result", text[call_end:answer_start]),
    }
    return next((what for what, (mark, place) in places.items() if mark not in place), None)
