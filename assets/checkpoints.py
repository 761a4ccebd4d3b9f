"""Checkpoints: the base model and every training stage, each made by a job process."""

from collections.abc import Mapping
from typing import Any

from assets.corpora import file_of_recipe
from assets.curves import curve
from assets.pipeline import Pipeline
from corpora.sources import observe
from lineage.node import Given, Node
from lineage.store import Artifact
from recipes.errors import RecipeError
from recipes.execution import Execution
from recipes.load import validate
from recipes.schema import identity
from recipes.scratch import FromScratch
from recipes.sources import Model
from recipes.stages import Stage
from training.stages import version_of


class Checkpoint(Node):
    """Weights as safetensors, with tokenizer and template."""

    formats = frozenset({"pytorch", "huggingface"})
    gpu = True


class Base(Checkpoint):
    """The model that everything starts from."""

    kind = "base"

    def __init__(self, pipeline: Pipeline, model: Model | FromScratch, version: int, *more: Any) -> None:
        self._pipeline, self._model, self._version = pipeline, model, version
        super().__init__(pipeline.name, "base", *more)

    def version(self) -> dict[str, Any]:
        return {"version": self._version, "config": identity(self._model)}

    def execution(self) -> dict[str, Any]:
        return Execution().model_dump(mode="json")

    def config(self, given: Given) -> dict[str, Any]:
        return {"model": self._model.model_dump(mode="json"), "folder": str(self._pipeline.folder)}

    def _template(self, field: str, template: str | None) -> dict[str, str]:
        """Digest of the chat template file that the recipe names, if it names one."""
        return {} if template is None else {"chat_template": file_of_recipe(self._pipeline, field, template)}


class Untrained(Base):
    """The recipe's own model before its first step, with the tokenizer that is trained for it."""

    checks = job = "scratch"

    def __init__(self, pipeline: Pipeline, model: FromScratch) -> None:
        self._tokenizer = model.tokenizer
        described = (
            f"{model.architecture} of {model.sizes.layers} layers of {model.sizes.hidden}, untrained, with a "
            f"tokenizer of {model.tokenizer.vocabulary:,} tokens from {', '.join(model.tokenizer.sources)}."
        )
        read = tuple(f"clean/{source}" for source in model.tokenizer.sources)
        super().__init__(pipeline, model, version_of("scratch"), described, read)

    def outside(self, given: Given) -> dict[str, str]:
        return self._template("model.tokenizer.chat_template", self._tokenizer.chat_template)


class Released(Base):
    """A released model, as it is."""

    checks = job = "base"

    def __init__(self, pipeline: Pipeline, model: Model) -> None:
        self._released = model
        super().__init__(pipeline, model, version_of("base"), f"{model.uri} in {model.dtype}, licence {model.licence}.")

    def outside(self, given: Given) -> dict[str, str]:
        model = self._released
        template = self._template("model.chat_template", model.chat_template)
        return {"model": observe(model, self._pipeline.folder, given.cache), **template}

    def config(self, given: Given) -> dict[str, Any]:
        return {**super().config(given), "cache": str(given.cache)}


class StageCheckpoint(Checkpoint):
    """The checkpoint of one training stage, whatever its kind."""

    launchable = True

    def __init__(self, pipeline: Pipeline, name: str, stage: Stage) -> None:
        self._pipeline, self._stage = pipeline, stage
        self.kind = self.checks = self.job = stage.kind
        self.overridden = identity(stage) != identity(pipeline.recipe.stages[name])
        self._roles = {role: "/".join(node) for role, node in stage.inputs().items()}
        data = ", ".join(node for role, node in self._roles.items() if role != "start")
        described = f"{stage.kind.upper()} of {stage.start} on {data}."
        super().__init__(pipeline.name, name, described, tuple(self._roles.values()))

    def asked(self, overrides: Mapping[str, Any]) -> "StageCheckpoint":
        return StageCheckpoint(self._pipeline, self.name, resolve_stage(self._pipeline, self.name, overrides))

    def version(self) -> dict[str, Any]:
        return {"version": version_of(self._stage.kind), "config": identity(self._stage)}

    def takes(self, given: Given) -> dict[str, Artifact]:
        return {role: given[name] for role, name in self._roles.items()}

    def config(self, given: Given) -> dict[str, Any]:
        return self._stage.model_dump(mode="json")

    def execution(self) -> dict[str, Any]:
        return self._stage.execution.model_dump(mode="json")

    def shown(self, given: Given, artifact: Artifact) -> dict[str, Any]:
        return curve(artifact)


def base_of(pipeline: Pipeline) -> Base:
    model = pipeline.recipe.model
    return Untrained(pipeline, model) if isinstance(model, FromScratch) else Released(pipeline, model)


def resolve_stage(pipeline: Pipeline, name: str, overrides: Mapping[str, Any]) -> Stage:
    """The stage with these fields in its section of the recipe, all of it validated again.

    So a launch can ask for nothing that a recipe could not say. Raises RecipeError that names recipe and field.
    """
    if not overrides:
        return pipeline.recipe.stages[name]
    where = f"{pipeline.path} with launch overrides"
    if wired := sorted(set(overrides) & {"kind", *pipeline.recipe.stages[name].inputs()}):
        raise RecipeError(f"{where}: stages.{name}.{wired[0]}: decides the graph's edges; change it in the recipe")
    fields = pipeline.recipe.model_dump(mode="python")
    fields["stages"][name] = _merged(fields["stages"][name], overrides)
    return validate(fields, where).stages[name]


def _merged(section: Mapping[str, Any] | None, changes: Mapping[str, Any]) -> dict[str, Any]:
    """`section` with `changes` laid over it, mappings field by field."""
    merged = dict(section or {})
    for key, value in changes.items():
        merged[key] = _merged(merged.get(key), value) if isinstance(value, Mapping) else value
    return merged
