"""What every part of a recipe is made of: the base of its sections, and the types of names and shares."""

import difflib
import re
from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

_NAME = r"^[a-z][a-z0-9_]{0,62}$"
Name = Annotated[str, StringConstraints(pattern=_NAME)]
"""A node name: it becomes a folder, an asset key part and a metric name."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Share = Annotated[float, Field(gt=0, le=1)]


def _is_a_pattern(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return pattern


Pattern = Annotated[str, Field(min_length=1), AfterValidator(_is_a_pattern)]
"""A regular expression."""


def is_name(text: str) -> bool:
    return re.fullmatch(_NAME, text) is not None


def meant(name: str, known: Iterable[str]) -> str:
    """`; did you mean '…'?` with the known name that is nearest, or nothing."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


class Section(BaseModel):
    """Base of every part of a recipe: immutable, and a misspelt key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)
