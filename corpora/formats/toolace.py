"""Calls as ToolACE and the models of BFCL's prompting mode write them: `[Name(key="value"), Other()]`, in the words.

The functions are a JSON list in the system prompt. What the prompt says of them stays, without the list, the line
that leads in to it, and the sentence that asks for calls in this form, for templates write calls in their own. Names
may hold blanks and dots; arguments are Python's literals.
"""

import ast
import io
import itertools
import json
import keyword
import re
import tokenize
from typing import Any

from corpora.formats.conversations import Message, conversation, known_role, turns, with_system
from corpora.formats.format import Fields, Format, each
from corpora.formats.items import Conversation, Item
from corpora.formats.prompts import TURNS, turns_field
from corpora.formats.tool_calls import calls_of, functions_of, holds_any, one_of, tools_of
from corpora.reading.row import RowError
from models.thoughts import joined, parted

_CALLS = re.compile(r"\s*\[\s*[^\s\[\](){}'\"=,][^\[\](){}'\"=,]*\(.*\)\s*\]\s*", re.DOTALL)
_LIST = re.compile(r'\[\s*\{\s*"')
_NAME = re.compile(r"[\s,]*([^(]+?)\(")
_ASKED = re.compile(r"[^.!?\n]*\[func\w*\([^\])]*\)[^\]\n]*\][.]?[ \t]*")
_LEADS_IN = re.compile(r"(?:^|(?<=[.!?\n]))[ \t]*(?:here (?:is|are)|you (?:may|can) call|functions)\b[^.!?\n]*:$", re.I)
"""A sentence with an example of calls in it, as [func1(name=value), func2(name)]."""

_OWN = "own_"
_LITERALS = {"true": "True", "false": "False", "null": "None"}
_DECODER = json.JSONDecoder()


def is_toolace(fields: Fields) -> bool:
    """Whether some turn is calls in such words, and functions stand beside the turns."""
    name, system = turns_field(fields), fields.get("system")
    if name is None or not isinstance(system, str) or not isinstance(fields[name], list):
        return False
    if not (holds_any(fields.get("tools")) or _LIST.search(system)):
        return False
    words = (turn.get("value", turn.get("content")) for turn in fields[name] if isinstance(turn, dict))
    return any(isinstance(text, str) and _CALLS.fullmatch(parted(text)[1]) for text in words)


def toolace_fields(fields: Fields) -> str | None:
    return f"system, {turns_field(fields)} with calls as [Name(key=value)]" if is_toolace(fields) else None


def read_toolace(fields: Fields) -> Item:
    name = turns_field(fields) or TURNS[0]
    system, tools = _functions(fields.get("system"))
    tools = one_of(tools_of(fields), tools)
    known = functions_of(tools)
    said = [_answer(message, index, known) for index, message in enumerate(turns(fields.get(name)), start=1)]
    return Conversation(conversation(with_system({**fields, "system": system}, said)), tools)


def _answer(message: Message, index: int, known: list[str]) -> Message:
    """A turn with its calls apart from its words. known: the functions that there are; a list in brackets that begins
    with none of them is words."""
    thoughts, words = parted(message["content"])
    if known_role(message["role"], index) != "assistant" or not _CALLS.fullmatch(words):
        return message
    named = _NAME.match(words.strip().removeprefix("["))
    if known and (named is None or named[1].strip() not in known):
        return message
    if "tool_calls" in message:
        raise RowError(f"calls twice, in words and beside them: turn {index}")
    content = joined(thoughts, "") if thoughts else ""
    return {**message, "content": content, "tool_calls": calls_of(_calls_in(words, index), index)}


def _calls_in(text: str, index: int) -> list[dict[str, Any]]:
    """Raises RowError."""
    where = f"not calls as [Name(key=value)]: turn {index}"
    rest, found = text.strip()[1:-1].strip(), []
    while rest:
        named = _NAME.match(rest)
        if named is None:
            raise RowError(where)
        for end in (place for place in range(named.end(), len(rest)) if rest[place] == ")"):
            arguments, behind = _arguments(rest[named.end() : end]), rest[end + 1 :].lstrip()
            if arguments is not None and behind[:1] in ("", ","):
                found.append({"name": named[1].strip(), "arguments": arguments})
                rest = behind.removeprefix(",").lstrip()
                break
        else:
            raise RowError(where)
    return found


def _arguments(text: str) -> dict[str, Any] | None:
    """Keywords and their literals, also JSON's; None if the text is no whole list of these."""
    try:
        call = ast.parse(f"f({_as_python(text)})", mode="eval").body
        if not isinstance(call, ast.Call) or call.args or not isinstance(call.func, ast.Name):
            return None
        names = [None if one.arg is None else one.arg.removeprefix(_OWN) for one in call.keywords]
        if len(set(names)) < len(names) or any(name is None or name not in text for name in names):
            return None  # Python spells names as NFKC has them
        return {str(name): ast.literal_eval(one.value) for name, one in zip(names, call.keywords, strict=True)}
    except (ValueError, SyntaxError, RecursionError, MemoryError, tokenize.TokenError):
        return None


def _as_python(text: str) -> str:
    """Arguments with names that Python keeps for itself, and JSON's words for literals, as Python reads them."""
    tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    found = []
    for token, following in itertools.pairwise(tokens):
        word = token.string
        if token.type == tokenize.NAME and following.string == "=" and keyword.iskeyword(word):
            word = _OWN + word
        elif token.type == tokenize.NAME and following.string != "=":
            word = _LITERALS.get(word, word)
        found.append((token.type, word))
    return tokenize.untokenize(found).strip()


def _functions(system: Any) -> tuple[str | None, str | None]:
    """What a system prompt says beside its list of functions, and these. Raises RowError."""
    if not isinstance(system, str):
        return None, None
    starts = [found.start() for found in _LIST.finditer(system)]
    for start in starts:
        try:
            listed, end = _DECODER.raw_decode(system, start)
            tools = tools_of({"tools": listed})
        except (ValueError, RecursionError, RowError):
            continue
        before, behind = system[:start].rstrip(), system[end:].lstrip(" .\n")
        before = _LEADS_IN.sub("", before).rstrip()
        parts = (_ASKED.sub("", part).replace("\n\n\n", "\n\n").strip() for part in (before, behind))
        return "\n\n".join(filter(None, parts)), tools
    if starts:
        raise RowError("no JSON list of functions with names in the system prompt")
    return system, None


FORMATS = (
    Format(
        "toolace",
        "conversation",
        "system with functions, and a list of turns with calls as [Name(key=value)]",
        toolace_fields,
        each(read_toolace),
        frozenset(TURNS),
    ),
)
