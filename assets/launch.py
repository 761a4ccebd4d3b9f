"""What a person may set when launching: few fields, each with a scalar default, checked in the first second.

An override is merged into the stage's section of the recipe and the whole recipe is validated again, so
that a launch can ask for nothing that a recipe could not say. It gives another fingerprint and so another
artefact; fields under `execution` say how, not what, and change nothing.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg
from pydantic import Field

from assets.pipeline import Pipeline
from recipes.errors import RecipeError
from recipes.load import validate
from recipes.stages import Stage


class Rebuild(dg.Config):
    """Launch options of a node without hyper-parameters."""

    force: bool = Field(default=False, description="make the artefact again even if it is there")


class Launch(Rebuild):
    """Launch options of a training stage."""

    overrides: dict[str, Any] = Field(default={}, description="fields of the stage, as in the recipe")
    max_steps: int = Field(default=0, description="end after this many steps; 0: as the recipe says")


def resolve_stage(pipeline: Pipeline, name: str, launch: Launch) -> Stage:
    """The stage as this launch asks for it. Raises RecipeError that names recipe and field."""
    asked: dict[str, Any] = {**launch.overrides, **({"max_steps": launch.max_steps} if launch.max_steps else {})}
    if not asked:
        return pipeline.recipe.stages[name]
    where = f"{pipeline.path} with launch overrides"
    if wired := sorted(set(asked) & {"kind", *pipeline.recipe.stages[name].inputs()}):
        raise RecipeError(f"{where}: stages.{name}.{wired[0]}: decides the graph's edges; change it in the recipe")
    fields = pipeline.recipe.model_dump(mode="python")
    fields["stages"][name] = _merged(fields["stages"][name], asked)
    return validate(fields, where).stages[name]


def _merged(section: Mapping[str, Any] | None, changes: Mapping[str, Any]) -> dict[str, Any]:
    """`section` with `changes` laid over it, mappings field by field."""
    merged = dict(section or {})
    for key, value in changes.items():
        merged[key] = _merged(merged.get(key), value) if isinstance(value, Mapping) else value
    return merged
