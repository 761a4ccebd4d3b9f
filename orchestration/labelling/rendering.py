"""What a model wrote, as HTML in which it can do nothing: no HTML of its own, no images, links to the web alone."""

import json
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from models.messages import Message
from models.thoughts import parted
from recipes.terminal import harmless

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

SHOWN = 20_000
"""Characters of a message that are rendered; what is longer is cut there and can be shown as plain text."""
_LINK = re.compile(r"https?://", re.IGNORECASE)


class Shown(NamedTuple):
    """A message for a template. whole: its text if it was cut."""

    role: str
    html: Markup
    thoughts: str | None
    calls: str | None
    whole: str | None


def shown(message: Message) -> Shown:
    thoughts, words = parted(message["content"])
    calls = message.get("tool_calls")
    text = _plain(words)
    whole = text if len(text) > SHOWN else None
    return Shown(message["role"], markdown(text[:SHOWN]), thoughts and _plain(thoughts), calls and pretty(calls), whole)


def pretty(text: str) -> str:
    """JSON with a line for every field."""
    return harmless(json.dumps(json.loads(text), indent=2, ensure_ascii=False))


def markdown(text: str) -> Markup:
    parser = _parser()
    tokens = parser.parse(_plain(text))
    for token in tokens:
        for part in (token, *(token.children or ())):
            _tame(part)
    return Markup(parser.renderer.render(tokens, parser.options, {}))  # noqa: S704 - its own words are escaped


def page(template: str, **told: Any) -> str:
    """A page as HTML. A name that `told` lacks is an error."""
    return _templates().get_template(f"{template}.html.jinja").render(**told)


def _tame(token: "Token") -> None:
    token.attrs.pop("style", None)  # of cells of tables; the page allows none
    if token.type == "link_open":
        token.attrs |= {"rel": "noopener noreferrer nofollow", "target": "_blank"}


def _plain(text: str) -> str:
    return harmless(text.replace("\r\n", "\n"))


@cache
def _parser() -> "MarkdownIt":
    from markdown_it import MarkdownIt

    class Parser(MarkdownIt):
        def validateLink(self, url: str) -> bool:
            return _LINK.match(url) is not None

    return Parser("commonmark", {"html": False, "breaks": True}).enable(["table", "strikethrough"]).disable("image")


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
