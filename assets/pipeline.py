"""A recipe bound to its file: what gives every node its name, owners and place to read from."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recipes.load import load_recipe
from recipes.schema import Recipe

if TYPE_CHECKING:
    import dagster as dg

_OWNER = re.compile(r"^(team:[A-Za-z0-9_]+|[^@\s]+@[^@\s]+\.[^@\s]+)$")


@dataclass(frozen=True)
class Pipeline:
    """One recipe, valid, and the file that it was read from (relative paths in it start at its folder)."""

    recipe: Recipe
    path: Path

    @classmethod
    def load(cls, path: Path) -> "Pipeline":
        """Raises RecipeError."""
        return cls(load_recipe(path), path.resolve())

    @property
    def name(self) -> str:
        return self.recipe.name

    @property
    def folder(self) -> Path:
        return self.path.parent

    def key(self, *parts: str) -> "dg.AssetKey":
        import dagster as dg

        return dg.AssetKey([self.name, *parts])

    @property
    def owners(self) -> list[str]:
        """Owners in the forms that Dagster knows: an e-mail address or `team:name`."""
        return [owner for owner in self.recipe.owners if _OWNER.match(owner)]
