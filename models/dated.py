"""Chat templates that write today's date are given a pinned one: else one identity stands for other bytes tomorrow.

transformers and servers offer templates `strftime_now`, which reads the clock. Here a macro of that name is put before
the template, which is not changed itself. The day is the one that the checkpoint's tokenizer_config.json names, so it
travels with every checkpoint that is trained from it.
"""

import json
from collections.abc import Mapping
from datetime import date
from typing import Any

from lineage.errors import CorpusError

KEY = "chat_template_date"
"""In tokenizer_config.json, as 2026-01-31."""

_BY_DEFAULT = date(2025, 1, 1)
_PERCENT = "\ue000"
"""A percent sign while codes are replaced."""
_CODES = tuple(
    f"%{code}" for code in ("-d", "-m", "-y", "-H", "-I", "-M", "-S", "-j", *"aAbBcCdDeFfgGhHIjklmMnpPrRsStTuUVwWxXyYZ")
)
"""Of strftime; those of a time of day write midnight."""


def day_of(settings: Mapping[str, Any]) -> date:
    """settings: of the tokenizer, as tokenizer_config.json holds them. Raises CorpusError for what is no day."""
    named = settings.get(KEY)
    try:
        return _BY_DEFAULT if named is None else date.fromisoformat(named)
    except (TypeError, ValueError):
        raise CorpusError(f"tokenizer_config.json: {KEY} is no day, as 2026-01-31: {named!r}") from None


def is_dated(template: str) -> bool:
    return "strftime_now" in template


def pinned(template: str, day: date) -> str:
    """The template, behind a macro that writes this day in whatever form the template asks for."""
    if not is_dated(template):
        return template
    meant = {"%%": _PERCENT, **{code: day.strftime(code) for code in _CODES}, _PERCENT: "%"}
    written = "".join(f" | replace({json.dumps(code)}, {json.dumps(text)})" for code, text in meant.items())
    return f"{{%- macro strftime_now(format) %}}{{{{ format{written} }}}}{{% endmacro %}}{{{{ '' }}}}{template}"
