"""Tool calls written into the words of turns, as the Hermes models and those after them write them.

An answer has its calls as JSON between `<tool_call>` and `</tool_call>`, results come between `<tool_response>` tags
in a turn of the tool or of the user, and the system prompt holds the functions between `<tools>` tags. What the
system prompt says about calling is left out, because a template writes its own: from the line that first names these
tags, or the heading `# Tools` before it, to the last of them, every sentence that is known to instruct about it. What
is in doubt stays.
"""

import re

from corpora.formats.conversations import (
    ROLES,
    Message,
    conversation,
    is_turns,
    known_role,
    turns,
    with_system,
)
from corpora.formats.format import Fields, Format, each
from corpora.formats.items import Conversation, Item
from corpora.formats.learning import weight_of
from corpora.formats.tool_calls import calls_of, one_of, tools_of
from corpora.formats.tool_text import call_in, value_in
from corpora.reading.row import RowError

TURNS = ("messages", "conversations", "conversation")

_CALL = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)
_RESPONSE = re.compile(r"<tool_response>(.*?)</tool_response>", re.DOTALL)
_TOOLS = re.compile(r"<tools>(.*?)</tools>", re.DOTALL)
_HEADING = re.compile(r"^# Tools[ \t]*$", re.MULTILINE)
_MENTION = re.compile(r"<(tools|tool_call)>\s*</\1>")
_BLOCK = re.compile(r"\s*<(tools|tool_call)>.*?</\1>", re.DOTALL)
_SENTENCE = re.compile(r"(?<=[.!?\0])\s+|(?<=\0)")
_OF_CALLING = re.compile(
    r"\x02|</?tools?\b|</?tool_|[{}]|\bfunctions?\b|\bjson (?:schema|object)\b|\bxml tags?\b|\btool call\b|^# tools$",
    re.IGNORECASE,
)
"""What a sentence about calling has in it: a tag, an object, or one of these words."""
_PERSONA = re.compile(r"\W*(?:you are|you're|i am|as an?)\b(?! provided| (?:a )?function[- ]calling)", re.IGNORECASE)
"""How a sentence begins that says who the model is, whatever it leads in to."""
_OPENINGS = ("<tools>", "<tool_call>")
_ENDINGS = ("</tools>", "</tool_call>")


def is_hermes(fields: Fields) -> bool:
    """Whether some turn has calls, their results or functions in its words."""
    return any(_marked(turn) for turn in _said(fields))


def hermes_fields(fields: Fields) -> str | None:
    return f"{_field(fields)}, a list of turns with {_marks(fields)}" if is_hermes(fields) else None


def read_hermes(fields: Fields) -> Item:
    found: list[Message] = []
    tools = tools_of(fields)
    said = turns(_said(fields) or fields.get(TURNS[0]))
    messages = with_system(fields, said)
    for index, message in enumerate(messages, start=1 - len(messages) + len(said)):
        role = known_role(message["role"], index)
        if role == "system":
            tools = one_of(tools, _functions(message["content"]))
            words = _without_instructions(message["content"])
            found += [{"role": role, "content": words}] if words else []
        elif role == "assistant" and "tool_calls" not in message:
            found.append(_answer(message, index))
        elif role == "tool" or message["content"].lstrip().startswith("<tool_response>"):
            found += _results(message, index)
        else:
            found.append(message)
    return Conversation(conversation(found), tools)


def _field(fields: Fields) -> str | None:
    return next((name for name in TURNS if is_turns(fields.get(name))), None)


def _said(fields: Fields) -> list[Fields]:
    """The turns as they are written."""
    name = _field(fields)
    found: list[Fields] = [] if name is None else fields[name]
    return found


def _marked(turn: Fields) -> str | None:
    """The tag in a turn's words that makes it one of this format."""
    words, role = turn.get("content", turn.get("value")), turn.get("role", turn.get("from"))
    if not isinstance(words, str) or not isinstance(role, str):
        return None
    tag = {"system": "<tools>", "assistant": "<tool_call>"}.get(ROLES.get(role.lower(), role), "<tool_response>")
    return tag if tag in words else None


def _marks(fields: Fields) -> str:
    return ", ".join(dict.fromkeys(tag for turn in _said(fields) if (tag := _marked(turn))))


def _functions(system: str) -> str | None:
    """The functions between the tags, as a list or one a line; tags with nothing between them are mere mentions."""
    where = "the functions of the system prompt"
    found = []
    for text in _TOOLS.findall(system):
        whole = text.strip()
        if whole.startswith("["):
            listed = value_in(whole, where)
            found += listed if isinstance(listed, list) else [listed]
        else:
            found += [value_in(line, where) for line in whole.splitlines() if line]
    return tools_of({"tools": found}) if found else None


def _without_instructions(system: str) -> str:
    """What the system prompt says beside functions and calls."""
    first = min((place for tag in _OPENINGS if (place := system.find(tag)) >= 0), default=None)
    if first is None:
        return system
    headings = [found.start() for found in _HEADING.finditer(system, 0, first)]
    start = headings[-1] if headings else _line_of(system, first)
    end = max((system.rfind(tag) + len(tag) for tag in _ENDINGS if tag in system[first:]), default=None)
    if end is None:
        raise RowError("functions or calls in the system prompt without an end")
    line_end = system.find("\n", end)
    end = len(system) if line_end < 0 else line_end
    parts = (system[:start].rstrip(), _not_of_calling(system[start:end]), system[end:].strip())
    return "\n\n".join(filter(None, parts)).strip()


def _line_of(text: str, place: int) -> int:
    """Where the line of a place begins, or the one before it that leads in to it."""
    start = text.rfind("\n", 0, place) + 1
    before = text[:start].rstrip()
    return before.rfind("\n") + 1 if before.endswith(":") and not text[start:place].strip() else start


def _not_of_calling(text: str) -> str:
    """The sentences of a text that say nothing of functions and calls, in their lines. What leads in to a block is of
    its sentence."""
    kept = []
    for line in _BLOCK.sub("\0", _MENTION.sub("\x02", text)).splitlines():
        sentences = _SENTENCE.split(line)
        rest = [one for one in sentences if not _instructs(one)]
        kept.append(line if len(rest) == len(sentences) else " ".join(rest))
    found = "\n".join(line.rstrip() for line in kept if line.strip(" .:;,\0"))
    return found.replace("\0", "").replace("\x02", "").strip("\n")


def _instructs(sentence: str) -> bool:
    """Whether a sentence does nothing but say how to call, or lead in to a block that does."""
    said = sentence.strip()
    if said.strip("\0 ") and _PERSONA.match(said):
        return False
    return said.endswith("\0") or _OF_CALLING.search(said) is not None


def _answer(message: Message, index: int) -> Message:
    words = message["content"]
    calls = _CALL.findall(words)
    if not calls:
        return message
    before, _, behind = words.partition("<tool_call>")
    if _CALL.sub("", f"<tool_call>{behind}").strip():
        raise RowError(f"words behind a tool call, or a call without an end: turn {index}")
    where = f"the tool calls of turn {index}"
    read = [call_in(call, where) for call in calls]
    weight = weight_of(message, read, index)
    return {**message, "content": before.strip(), "tool_calls": calls_of(read, index), **weight}


def _results(message: Message, index: int) -> list[Message]:
    """A turn of the tool for each result; words of a tool without tags are one result."""
    results = _RESPONSE.findall(message["content"])
    if not results:
        return [{**message, "role": "tool"}]
    if _RESPONSE.sub("", message["content"]).strip():
        raise RowError(f"words beside the results of tools: turn {index}")
    return [{"role": "tool", "content": result.strip()} for result in results]


FORMATS = (
    Format(
        "hermes",
        "conversation",
        "turns with <tool_call>, <tool_response> or <tools> in their words",
        hermes_fields,
        each(read_hermes),
        frozenset(TURNS),
    ),
)
