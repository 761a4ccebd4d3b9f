"""How reports on data are written: HTML pages by jinja with all text escaped, figures as people read them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

_TEMPLATES = Path(__file__).parent / "templates"
_PERCENT = 100


def rendered_page(template: str, **told: Any) -> str:
    """A page as HTML. A name that `told` lacks is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"percent": percent, "points": points, "number": number}
    return environment.get_template(template).render(**told)


def percent(value: float, digits: int = 1) -> str:
    return f"{_PERCENT * value:.{digits}f}%"


def points(value: float) -> str:
    """A difference in percentage points, with a real minus sign and no minus zero."""
    return f"{round(_PERCENT * value, 3) + 0.0:+.3f}".replace("-", "−")


def number(value: float) -> str:
    """A count with a space between thousands."""
    return f"{value:,.0f}".replace(",", "\N{NO-BREAK SPACE}")


def markdown_table(head: Sequence[str], rows: Sequence[str]) -> str:
    return "\n".join([f"| {' | '.join(head)} |", "| --- " * len(head) + "|", *rows])
