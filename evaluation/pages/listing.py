"""The list of all pages: what was decided, and what mixtures are made of, newest first."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

_TEMPLATES = Path(__file__).parent / "templates"


class Listed(NamedTuple):
    """A page. label: what kind it is. said: a verdict, or what checks say. created_at: ISO 8601. path: its link."""

    recipe: str
    node: str
    label: str
    said: str
    overridden: bool
    created_at: str
    path: str


def render_listing(pages: Sequence[Listed]) -> str:
    """The list as HTML, in the order given."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["minute"] = _minute
    page: str = environment.get_template("listing.html.jinja").render(pages=pages)
    return page


def _minute(created_at: str) -> str:
    return datetime.fromisoformat(created_at).strftime("%Y-%m-%d %H:%M UTC")
