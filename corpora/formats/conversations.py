"""The turns of a conversation as a trainer needs them: known roles in order, no empty words, an answer at the end.

Field access and checks that every format shares; which field holds what is left to `formats`. Reasons name fields
and places, never the text itself.
"""

import itertools
import re
import unicodedata
from collections.abc import Mapping
from typing import Any, NamedTuple

from corpora.formats.learning import MARKS, refuse_marked_part, weight_of
from corpora.formats.tool_calls import call_ids, calls_in, calls_of, holds_any, id_of
from corpora.reading.row import RowError
from models.messages import Message
from models.thoughts import joined, parted, read

__all__ = [
    "Message",
    "conversation",
    "is_turns",
    "known_role",
    "reply",
    "single",
    "text_at",
    "turns",
    "value_at",
    "with_system",
]

_INVISIBLE = "\u115f\u1160\u2800\u3164\uffa0"
"""Characters that Unicode calls letters or symbols, and that are drawn as blanks."""
_PLACEHOLDER = re.compile(r"\A<(image|audio|video)>|<(image|audio|video)>\Z")
"""What stands for media before or behind the words."""
MEDIA = {name: medium for medium in ("image", "audio", "video") for name in (medium, f"{medium}s")}
"""Fields of a row that hold a medium, and which."""
_EMPTY_LINES = re.compile(r"\A(?:[^\S\n]*\n)+")
_CALL = "function_call"
_SHOWN = 24
"""Characters of a source's own words that a reason may show."""
_TEXTS = ("text", "input_text", "output_text")
ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "bing": "assistant",
    "ai": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "tool_response": "tool",
    "tool_result": "tool",
    "ipython": "tool",
    _CALL: "assistant",
    "tool_call": "assistant",
}
SYSTEMS = ("system", "system_prompt", "system_message")
_THOUGHTS = ("reasoning_content", "reasoning", "thinking")
"""Fields of a turn, and types of its parts, that hold what the assistant thought."""
_THOUGHTFUL = frozenset(_THOUGHTS)
WRITTEN_CALLS = (_CALL, "tool_call")
_SPELLINGS = (
    ("role", "content"),
    ("from", "value"),
    ("role", "value"),
    ("role", "text"),
    ("from", "content"),
    ("from", "text"),
    ("speaker", "text"),
    ("speaker", "content"),
)
_OPENING = " (turns: {opening: keep} or {opening: drop} in the source reads on)"
_SAME_ROLE = " (turns: {same_role: join} in the source joins them)"
_LAST_USER = " (turns: {last_user: drop} in the source drops it)"
_FOLLOWS = {
    "start": ("system", "user"),
    "system": ("user",),
    "user": ("assistant",),
    "assistant": ("user",),
    "call": ("tool",),
    "tool": ("tool", "assistant"),
}


def value_at(fields: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path: keys of objects, numbers into lists. Raises RowError if there is none."""
    if path in fields:
        return fields[path]
    value: Any = fields
    for part in path.split("."):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            raise RowError(f"no field '{path}'")
    return value


def value_or_none(fields: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, None if there is none."""
    try:
        return value_at(fields, path)
    except RowError:
        return None


def cannot_be_had(medium: str) -> str:
    """Why a row that is about a medium is not read. medium: image, audio or video."""
    what, sense = ("sound", "hear") if medium == "audio" else (f"{medium}s", "see")
    return f"holds {what}, which a text model cannot {sense}"


def is_blank(text: str) -> bool:
    """Whether nothing of a text can be seen."""
    return all(c.isspace() or c in _INVISIBLE or unicodedata.category(c) in ("Cf", "Cc") for c in text)


def _refuse_placeholder(words: str, index: int) -> None:
    """Raises RowError if media are to stand before or behind the words."""
    if (shown := _PLACEHOLDER.search(words)) is not None:
        raise RowError(f"{cannot_be_had(shown[1] or shown[2])}: turn {index}")


def _answer(words: str, index: int) -> str:
    """An answer, with its thoughts as corpora keep them. Raises RowError if these cannot be told from what is said."""
    try:
        return read(answered(words))
    except ValueError as error:
        raise RowError(f"{error}: turn {index}") from None


def answered(words: str) -> str:
    """An answer without empty lines before it and blanks behind it."""
    words = words.rstrip()
    return _EMPTY_LINES.sub("", words) if words[:1].isspace() else words


def text_at(fields: Mapping[str, Any], path: str) -> str:
    """The text at a dotted path, not empty. Raises RowError."""
    value = value_at(fields, path)
    if not isinstance(value, str):
        raise RowError(f"field '{path}' is not text")
    if is_blank(value):
        raise RowError(f"field '{path}' is empty")
    return value


def with_system(fields: Mapping[str, Any], messages: list[Message]) -> list[Message]:
    """The messages behind the system prompt that the row keeps beside them, if it does; an empty one is none.

    Raises RowError if there are several that differ.
    """
    named = [
        name for name in SYSTEMS if fields.get(name) and not (isinstance(fields[name], str) and is_blank(fields[name]))
    ]
    if not named:
        return messages
    beside = fields[named[0]]
    if any(not isinstance(fields[name], str) for name in named):
        raise RowError(f"not text: the system prompt in field '{named[0]}'")
    if len({fields[name].strip() for name in named}) > 1:
        raise RowError(f"two system prompts that differ: in {' and '.join(named)}")
    if not messages or ROLES.get(messages[0]["role"].lower()) != "system":
        return [{"role": "system", "content": beside}, *messages]
    if messages[0]["content"].strip() != beside.strip():
        raise RowError("two system prompts that differ: beside the turns and in them")
    return messages


def is_turns(value: Any) -> bool:
    """Whether a field holds a list of turns in one of the known spellings."""
    return isinstance(value, list) and bool(value) and all(_spelling(turn) for turn in value)


def is_turn(fields: Mapping[str, Any]) -> bool:
    """Whether a whole row is one turn, whose conversation is spread over rows."""
    spelling = _spelling(fields)
    return spelling is not None and fields[spelling[0]].strip().lower() in ROLES


def turns(value: Any) -> list[Message]:
    """A list of turns in one of the known spellings, or of words by user and assistant in turn.

    Roles are as written, calls are JSON. Raises RowError.
    """
    if not isinstance(value, list) or not value:
        raise RowError("no turns")
    if all(isinstance(turn, str) for turn in value):
        return [{"role": ("user", "assistant")[index % 2], "content": words} for index, words in enumerate(value)]
    called: dict[str, str] = {}
    found = []
    for index, turn in enumerate(_by_calls(value), start=1):
        found.append(_turn(turn, index, called))
        if turn.get("tool_calls"):
            called |= call_ids(turn["tool_calls"], index)
    return found


def _by_calls(value: list[Any]) -> list[Any]:
    """The turns, results of calls in the order of the calls where ids say which is whose. Raises RowError for one that
    is of no call, or of another function than it says."""
    if not any(isinstance(turn, dict) and turn.get("tool_calls") for turn in value):
        return value
    found = list(value)
    for index, turn in enumerate(value):
        calls = turn.get("tool_calls") if isinstance(turn, dict) else None
        names = call_ids(calls, index + 1) if calls else {}
        others = set(names.values())
        behind = itertools.takewhile(_is_result, value[index + 1 :]) if names else ()
        results = list(behind)
        ids = [id_of(result.get("tool_call_id")) for result in results]
        for place, (key, result) in enumerate(zip(ids, results, strict=True), start=index + 2):
            if key is None:
                continue
            if len(names) > 1 and key not in names:
                raise RowError(f"a result of no call before it: turn {place}")
            if result.get("name") in others and names.get(key, result["name"]) != result["name"]:
                raise RowError(f"a result of another function than the call that its id names: turn {place}")
        order = list(names)
        if len(names) > 1 and len({*ids}) == len(ids) and names.keys() >= {*ids}:
            of_call = sorted(zip(ids, results, strict=True), key=lambda one: order.index(one[0] or ""))
            found[index + 1 : index + 1 + len(results)] = [result for _, result in of_call]
    return found


def _is_result(turn: Any) -> bool:
    spelling = _spelling(turn)
    return spelling is not None and ROLES.get(turn[spelling[0]].strip().lower()) == "tool"


def conversation(messages: list[Message]) -> list[Message]:
    """The messages with known roles and trimmed words: at most a system prompt, then user and assistant in turn. An
    answer keeps the blanks before its first words, which may be code.

    Between a call and what the assistant makes of it stand the tools' answers; a conversation may also end with a
    call. A system prompt may be empty, which is not the same as none. Raises RowError if the order is another one, or
    words are missing.
    """
    named = []
    for index, message in enumerate(messages, 1):
        role = known_role(message["role"], index)
        words = message["content"]
        named.append(
            {**message, "role": role, "content": _answer(words, index) if role == "assistant" else words.strip()}
        )
    offset = 0 if named and named[0]["role"] == "system" else 1
    last = "start"
    for index, message in enumerate(named, start=offset):
        expected = _FOLLOWS[last]
        greets = last in ("start", "system") and message["role"] == "assistant"
        if message["role"] not in expected and not (greets and message.get("weight") == "0"):
            due = " or the ".join(role for role in expected if role != "system")
            mend = _OPENING if greets else _SAME_ROLE if message["role"] == last else ""
            raise RowError(f"roles out of order: turn {index} is of the {message['role']}, not of the {due}{mend}")
        if message["role"] == "user" and (message["content"][:1] == "<" or message["content"][-1:] == ">"):
            _refuse_placeholder(message["content"], index)
        if is_blank(message["content"]) and message["role"] not in ("system", "tool") and "tool_calls" not in message:
            raise RowError(f"empty turn: turn {index}")
        if message["role"] == "assistant" and "tool_calls" not in message and is_blank(parted(message["content"])[1]):
            raise RowError(f"thoughts without an answer: turn {index}")
        last = "call" if "tool_calls" in message else message["role"]
    if last not in ("assistant", "call"):
        raise RowError(f"no answer: the last turn is not of the assistant{_LAST_USER if last == 'user' else ''}")
    return named


JOINS = " (same_role: join joins turns of words alone, without calls and thoughts, that are marked alike)"
MENDS = {_OPENING: {"opening": "drop"}, _SAME_ROLE: {"same_role": "join"}, _LAST_USER: {"last_user": "drop"}}
"""What reasons propose, and what of a source's `turns` that is."""


def without_mends(reason: str) -> str:
    """A reason without what it proposes."""
    for mend in (*MENDS, JOINS):
        reason = reason.replace(mend, "")
    return reason


def single(asked: str, answered: str) -> list[Message]:
    """A conversation of one question and one answer. Raises RowError if one is empty."""
    return conversation([{"role": "user", "content": asked}, {"role": "assistant", "content": answered}])


def reply(value: Any, field: str) -> list[Message]:
    """An answer as turns: from plain text, one turn, or a list of turns. Raises RowError."""
    if isinstance(value, str):
        return [{"role": "assistant", "content": value}]
    if isinstance(value, dict):
        return turns([value])
    if isinstance(value, list):
        return turns(value)
    raise RowError(f"field '{field}' is neither text nor turns")


def _turn(turn: Any, index: int, called: Mapping[str, str]) -> Message:
    spelling = _spelling(turn)
    if spelling is None:
        raise RowError(f"unknown shape: turn {index} has neither role and content nor from and value")
    role, content = turn[spelling[0]].strip(), turn.get(spelling[1])
    assistant = ROLES.get(role.lower()) == "assistant"
    written = role.lower() in WRITTEN_CALLS
    said = Parts(None, "", []) if written else parts_of(content, index)
    thoughts = _thoughts(turn, said.thoughts, index)
    held = [calls for calls in (turn.get("tool_calls"), turn.get(_CALL), said.calls) if calls and holds_any(calls)]
    held += [content] if written else []
    if not assistant and (thoughts or held):
        raise RowError(f"thoughts or calls that are not of the assistant: turn {index}")
    if said.words is None and not held:
        raise RowError(f"not text: the words of turn {index}")
    message = {"role": role, "content": _with_thoughts(thoughts, said.words or "", index)}
    if assistant and (held or not MARKS.isdisjoint(turn)):
        message |= weight_of(turn, [call for calls in held for call in calls_in(calls, index)], index)
    if held:
        calls = {calls_of(calls, index) for calls in held}
        if len(calls) > 1:
            raise RowError(f"calls twice, which differ: turn {index}")
        return {**message, "tool_calls": calls.pop()}
    name = turn.get("name") or called.get(id_of(turn.get("tool_call_id")) or "")
    if ROLES.get(role.lower()) == "tool" and isinstance(name, str):
        return {**message, "name": name}
    return message


def _spelling(turn: Any) -> tuple[str, str] | None:
    if not isinstance(turn, dict):
        return None
    fitting = None
    for role, content in _SPELLINGS:
        if isinstance(turn.get(role), str) and (content in turn or turn.get("tool_calls")):
            if turn.get(content) is not None:
                return role, content
            fitting = fitting or (role, content)
    return fitting


def known_role(role: str, index: int) -> str:
    """The role that a turn's own word for it means. Raises RowError."""
    known = ROLES.get(role.strip().lower())
    if known is None:
        word = role.strip()
        shown = f"'{word}' of " if len(word) <= _SHOWN and word.replace("_", "").isalnum() else ""
        raise RowError(
            f"unknown role: {shown}turn {index} (turns: {{roles: …}} in the source says what it means; known are "
            f"{', '.join(ROLES)})"
        )
    return known


class Parts(NamedTuple):
    """The words of one turn: what was said, what was thought before, which calls it makes.

    Known are OpenAI's parts of text, Anthropic's of `thinking`, and those of LLaMA-Factory's version 1, which keeps
    `reasoning` and `tool_call` beside `text`. words: None if there are none. calls: as the row has them, one each.
    """

    words: str | None
    thoughts: str
    calls: list[Any]


def parts_of(content: Any, index: int) -> Parts:
    """index: of the turn, for the message. Raises RowError if there is anything that is not text, or no such part."""
    if content is None or isinstance(content, str):
        return Parts(content, "", [])
    if not isinstance(content, list):
        raise RowError(f"not text: the words of turn {index}")
    words: list[str] = []
    thoughts: list[str] = []
    calls: list[Any] = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind is not None:
            refuse_marked_part(part, index)
        held = (part.get(name) for name in ("text", "value", kind)) if isinstance(kind, str) else ()
        value = next((one for one in held if one is not None), None)
        if kind in _THOUGHTS and isinstance(value, list):
            value = parts_of(value, index).words
        if kind == "tool_call" and value is not None:
            calls.append(value)
        elif isinstance(value, str) and kind in _TEXTS:
            if calls and not is_blank(value):
                raise RowError(f"words behind a call: turn {index}")
            words.append(value)
        elif isinstance(value, str) and kind in _THOUGHTS:
            if calls or not is_blank("".join(words)):
                raise RowError(f"thoughts between words: turn {index}")
            thoughts.append(value)
        else:
            raise RowError(_no_text(kind, index))
    return Parts("".join(words) if words or not calls else None, "".join(thoughts), calls)


def _no_text(kind: Any, index: int) -> str:
    """Why a part of this type is not read."""
    if not isinstance(kind, str):
        return f"not text: the words of turn {index}"
    medium = next((medium for medium in ("image", "audio", "video") if medium in kind), None)
    if medium is not None:
        return f"{cannot_be_had(medium)}: turn {index}"
    named = f"{kind}, " if kind.replace("_", "").isalnum() and len(kind) <= _SHOWN else ""
    return f"a part that is not text, thoughts or a tool_call: {named}turn {index}"


def _thoughts(turn: Mapping[str, Any], parts: str, index: int) -> str:
    """What was thought before a turn, in a field of its own or in `parts`. Raises RowError if two of them differ."""
    if not parts and _THOUGHTFUL.isdisjoint(turn):
        return ""
    held = {name: turn[name] for name in _THOUGHTS if turn.get(name) is not None}
    if any(not isinstance(value, str) for value in held.values()):
        raise RowError(f"not text: the thoughts of turn {index}")
    found = {_bare(value, index) for value in (*held.values(), parts) if value.strip()} - {""}
    if len(found) > 1:
        raise RowError(f"thoughts twice, which differ: turn {index}")
    return next(iter(found), "")


def row_thoughts(fields: Mapping[str, Any]) -> str | None:
    """The field in which a row keeps the thoughts of its one answer, if it does: of any kind, but for numbers."""
    if _THOUGHTFUL.isdisjoint(fields):
        return None
    held = {name: fields[name] for name in _THOUGHTS if isinstance(fields.get(name), str | list | dict)}
    return next((name for name, value in held.items() if not (value in ([], {}) or is_blank(str(value)))), None)


def with_row_thoughts(fields: Mapping[str, Any], words: str) -> str:
    """The content of an answer with the thoughts that its row keeps beside it. Raises RowError."""
    return _with_thoughts(_thoughts(fields, "", 2), words, 2) if row_thoughts(fields) else words


def _bare(thoughts: str, index: int) -> str:
    """Thoughts without tags around the whole. Raises RowError for tags inside, at which they would be parted."""
    bare = thoughts.strip()
    if bare.startswith("<think>") and bare.endswith("</think>"):
        bare = bare.removeprefix("<think>").removesuffix("</think>").strip()
    if "</think>" in bare:
        raise RowError(f"</think> inside the thoughts of turn {index}")
    return bare


def _with_thoughts(thoughts: str, words: str, index: int) -> str:
    """The content of a turn. Raises RowError if its words begin with thoughts that are others."""
    inside, said = parted(words)
    if thoughts and inside and inside != thoughts:
        raise RowError(f"thoughts twice, which differ: turn {index}")
    return joined(thoughts, said) if thoughts else words
