"""What of a recipe says when a training row counts as a copy of an evaluation item, and what then happens to it."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from recipes.section import Section

_Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]


class Allowed(Section):
    """Something that is no contamination, and why. Just one of `item`, `row` and `phrase`.

    `item`: number of an item of `task` (or every item, with `task` alone). `row`: id of a row. `phrase`: words that
    are no evidence wherever they stand, as a licence text or a task's instructions.
    """

    task: str | None = None
    item: int | None = Field(default=None, ge=0)
    row: str | None = Field(default=None, pattern=r"^[0-9a-f]{8,64}$", description="a row's id, or how it begins")
    phrase: _Text | None = None
    reason: _Text

    @model_validator(mode="after")
    def _says_what(self) -> "Allowed":
        named = [name for name in ("item", "row", "phrase") if getattr(self, name) is not None]
        if len(named) > 1:
            raise ValueError(f"{' and '.join(named)}: name one of them; write an entry for each")
        if self.item is not None and self.task is None:
            raise ValueError("item needs task: items are numbered within their task")
        if not named and self.task is None:
            raise ValueError("name what is allowed: task, item, row or phrase")
        return self


class Contamination(Section):
    """When a row is a copy of an item: enough of the item's words stand in it, in the item's order.

    Words of phrases that more than `common_items` items of a task share are its template, and count for nothing.
    """

    on_match: Literal["remove", "block"] = "remove"
    verbatim: float = Field(
        default=0.4, gt=0, le=1, description="share of an item's 13-grams in a row that makes it a copy"
    )
    altered: float = Field(
        default=0.5, gt=0, le=1, description="share of an item's words, in runs of five or more, that makes it a copy"
    )
    common_items: int = Field(default=3, ge=1)
    allow: list[Allowed] = []
