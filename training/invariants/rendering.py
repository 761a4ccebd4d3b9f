"""A conversation is the same text in training, in evaluation and behind a server, to the byte.

A server has the checkpoint's files and no more. So the template is read from the saved folder and rendered as
servers do, with jinja alone, and compared with what training made its tokens from.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lineage.checks import Check, check
from lineage.errors import CorpusError
from models import dated
from models.template import ChatTemplate

Messages = list[dict[str, str]]

_TRAINING_MARKS = re.compile(r"\{%-?\s*(?:end)?generation\s*-?%\}")
"""What some templates hold for transformers alone; it writes nothing."""

GOLDEN: tuple[Messages, ...] = (
    [{"role": "user", "content": "What is 2 + 2?"}],
    [{"role": "user", "content": " a \n\n"}, {"role": "assistant", "content": "Four.\n"}],
    [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Caf\u00e9?\t\u4f60\u597d"},
        {"role": "assistant", "content": "\U0001f600"},
        {"role": "user", "content": "And\r\nnow?"},
    ],
)
"""Conversations in which white space, scripts and roles would show a difference."""


def served_as_trained(start: Path, saved: Path, conversations: Sequence[Messages] = GOLDEN) -> Check:
    """The saved folder, rendered as a server does it, gives the bytes and the tokens that training saw.

    Conversations that the template refuses in training are left out. Catches a template or tokenizer that was saved
    changed, and one that renders otherwise outside transformers (LF#5232: 82 % against 0 %; LF#8356; ollama#13189).
    """
    trained = ChatTemplate.load(start)
    served = trained if _same(start, saved) else ChatTemplate.load(saved)
    differing = rendered = 0
    for messages in conversations:
        asks = messages[-1]["role"] == "user"
        try:
            expected = trained.written(messages, generation_prompt=asks)
        except CorpusError:
            continue
        rendered += 1
        sent = [trained.as_sent(message) for message in messages]
        as_server = as_served(saved, sent, generation_prompt=asks)
        differing += expected != as_server or trained.tokenise(expected) != served.tokenise(as_server)
    return check(
        differing == 0 and rendered > 0,
        differing,
        f"of {rendered} conversations, those that the saved folder renders or tokenises otherwise than training did",
    )


def _same(start: Path, saved: Path) -> bool:
    """Whether two folders have the same tokenizer, byte for byte, which then need not be read twice."""
    names = ("tokenizer.json", "tokenizer_config.json")
    return all((start / name).read_bytes() == (saved / name).read_bytes() for name in names)


def as_served(checkpoint: Path, messages: Sequence[Mapping[str, Any]], generation_prompt: bool) -> str:
    """A conversation rendered from the files of a checkpoint by jinja alone, with the settings that servers use, on
    the checkpoint's day and not asked to think."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    template = (checkpoint / "chat_template.jinja").read_text(encoding="utf-8")
    tokens = json.loads((checkpoint / "tokenizer_config.json").read_text(encoding="utf-8"))
    environment.globals |= {"raise_exception": _refuse, "strftime_now": dated.day_of(tokens).strftime}
    named = {name: _text(tokens[name]) for name in ("bos_token", "eos_token", "pad_token") if tokens.get(name)}
    return environment.from_string(_TRAINING_MARKS.sub("", template)).render(
        messages=messages,
        add_generation_prompt=generation_prompt,
        tools=None,
        enable_thinking=False,
        thinking=False,
        **named,
    )


def _text(token: Any) -> str:
    return str(token["content"] if isinstance(token, dict) else token)


def _refuse(message: str) -> None:
    raise CorpusError(f"the chat template refuses a conversation: {message}")
