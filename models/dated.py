"""Chat templates that write today's date are given a pinned one: else one identity stands for other bytes tomorrow.

transformers and servers offer templates `strftime_now`, which reads the clock. Here a macro of that name is put before
the template, which is not changed itself. The day is the one that the checkpoint's tokenizer_config.json names, so it
travels with every checkpoint that is trained from it.
"""

import json
import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from lineage.errors import CorpusError

KEY = "chat_template_date"
"""In tokenizer_config.json, as 2026-01-31."""

_BY_DEFAULT = date(2025, 1, 1)
_FORMS = re.compile(r"""strftime_now\(\s*(["'])(.*?)\1\s*\)""")


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
    """The template, behind a macro that writes this day in each form that the template asks for."""
    if not is_dated(template):
        return template
    forms = json.dumps({form: day.strftime(form) for _, form in _FORMS.findall(template)})
    return f"{{%- macro strftime_now(format) %}}{{{{ {forms}[format] }}}}{{% endmacro %}}{{{{ '' }}}}{template}"
