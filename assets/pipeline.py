"""A recipe bound to its file: what gives every asset its key, group, owners and place to read from."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from assets.checks import specs
from lineage.hashing import fingerprint
from recipes.load import load_recipe
from recipes.schema import Recipe, identity
from recipes.section import Section

GPU = "gpu"
"""The pool of everything that trains or evaluates; one slot by default, so that jobs do not share a device."""

_OWNER = re.compile(r"^(team:[A-Za-z0-9_]+|[^@\s]+@[^@\s]+\.[^@\s]+)$")
_CODE_VERSION_CHARACTERS = 12


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

    def key(self, *parts: str) -> dg.AssetKey:
        return dg.AssetKey([self.name, *parts])

    def handle(self, *parts: str) -> dict[str, dg.AssetIn]:
        """`ins` entry for one upstream handle; the parameter is called after the node, as in `clean__alpaca`."""
        return {"__".join(parts): dg.AssetIn(key=self.key(*parts))}

    def handles(self, nodes: Iterable[tuple[str, ...]]) -> dict[str, dg.AssetIn]:
        return {name: asset_in for node in nodes for name, asset_in in self.handle(*node).items()}

    def asset(
        self,
        *parts: str,
        description: str,
        kinds: set[str],
        code_version: str,
        checks: str | None = None,
        **more: Any,
    ) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
        """`dg.asset` with what all materializable assets of this pipeline share.

        checks: the kind of node whose declared checks it has.
        """
        declare: Callable[[Callable[..., Any]], dg.AssetsDefinition] = dg.asset(
            key=self.key(*parts),
            group_name=self.name,
            description=description,
            kinds=kinds,
            owners=self.owners,
            code_version=code_version,
            check_specs=specs(checks, self.key(*parts)) if checks else None,
            **more,
        )
        return declare

    @property
    def owners(self) -> list[str]:
        """Owners in the forms that Dagster knows: an e-mail address or `team:name`."""
        return [owner for owner in self.recipe.owners if _OWNER.match(owner)]


def code_version(section: Section, version: int, **more: Any) -> str:
    """Short fingerprint of a recipe section and its module's VERSION: Dagster shows "new code version" by it."""
    return fingerprint({"config": identity(section), "version": version, **more})[:_CODE_VERSION_CHARACTERS]
