"""Prompts that a model answers by itself while it learns, each with what its answers are checked by."""

from pydantic import Field

from recipes.origins import Origin
from recipes.section import Name, Section


class Prompts(Section):
    """Prompts of clean corpora; `max_length` in tokens of the prompt. A verifier comes with its row.

    Problems of `gym://` bring reasoning-gym's. Rows that have `instruction_id_list` and `kwargs`, as IFEval's do, are
    checked by the instructions of these names; their checkers need `punkt`.
    """

    sources: list[Name] = Field(min_length=1)
    max_length: int = Field(ge=8)
    seed: int = Field(ge=0)
    limit: int | None = Field(default=None, ge=1, description="number of prompts, drawn by seed")
    punkt: Origin | None = Field(default=None, description="NLTK punkt_tab, which checkers of instructions need")
