"""glaive-function-calling-v2 as it was published: a whole dialogue in one text, its functions in the system prompt.

`system` begins with `SYSTEM:` and may end in the functions' schemas, JSON objects one after the other; `chat` has
`USER:`, `ASSISTANT:` and `FUNCTION RESPONSE:` at the beginning of lines (or between blanks, where a copy lost its line
breaks), `<functioncall>` before a call. The sentence that leads in to the functions is left out, because a template
writes its own; so is the end-of-text token.
"""

import re

from corpora.formats.conversations import Message, conversation, text_at
from corpora.formats.format import Fields, Format, each
from corpora.formats.items import Conversation, Item
from corpora.formats.tool_calls import calls_of, tools_of
from corpora.formats.tool_text import call_in, values_at
from corpora.reading.row import RowError

_SPEAKER = re.compile(r"^[ \t]*(USER|ASSISTANT|FUNCTION RESPONSE):", re.MULTILINE)
_IN_LINE = re.compile(r"(?:^|(?<=\s))(USER|ASSISTANT|FUNCTION RESPONSE):")
_ROLES = {"USER": "user", "ASSISTANT": "assistant", "FUNCTION RESPONSE": "tool"}
_CALL = "<functioncall>"
_END = "<|endoftext|>"
_FUNCTIONS = re.compile(r"^\s*[\[{]", re.MULTILINE)


def glaive_fields(fields: Fields) -> str | None:
    chat = fields.get("chat")
    found = isinstance(chat, str) and any(_speak(pattern, chat) for pattern in (_SPEAKER, _IN_LINE))
    return "chat with USER: and ASSISTANT:" if found else None


def read_glaive(fields: Fields) -> Item:
    system, tools = _system(fields)
    chat = text_at(fields, "chat")
    before, *pieces = (_SPEAKER if _speak(_SPEAKER, chat) else _IN_LINE).split(chat)
    if before.strip():
        raise RowError("words before the first turn of field 'chat'")
    said = zip(pieces[::2], pieces[1::2], strict=True)
    turns = [_turn(speaker, words, index) for index, (speaker, words) in enumerate(said, start=1)]
    return Conversation(conversation([*system, *turns]), tools)


def _speak(pattern: re.Pattern[str], chat: str) -> bool:
    """Whether both sides are found to speak."""
    return {"USER", "ASSISTANT"} <= set(pattern.findall(chat))


def _system(fields: Fields) -> tuple[list[Message], str | None]:
    """The system prompt without what it says of functions, if anything is left, and the functions."""
    text = fields.get("system") or ""
    if not isinstance(text, str):
        raise RowError("field 'system' is not text")
    text = text.strip().removeprefix("SYSTEM:").strip()
    begin = _FUNCTIONS.search(text)
    if begin is None:
        return _as_system(text), tools_of(fields)
    functions, behind = values_at(text[begin.start() :])
    sentences = text[: begin.start()].strip().splitlines()[:-1]  # the last one leads in to the functions
    return _as_system("\n".join([*sentences, behind]).strip()), tools_of({"tools": functions})


def _as_system(text: str) -> list[Message]:
    return [{"role": "system", "content": text}] if text else []


def _turn(speaker: str, words: str, index: int) -> Message:
    words = words.strip().removesuffix(_END).strip()
    if _END in words:
        raise RowError(f"an end of text inside turn {index}")
    if speaker != "ASSISTANT" or _CALL not in words:
        return {"role": _ROLES[speaker], "content": words}
    content, _, called = words.partition(_CALL)
    call = call_in(called.strip().removesuffix("</functioncall>"), f"the tool calls of turn {index}")
    return {"role": "assistant", "content": content.strip(), "tool_calls": calls_of(call, index)}


FORMATS = (Format("glaive", "conversation", "system, chat", glaive_fields, each(read_glaive), frozenset(("chat",))),)
