"""The nodes of a recipe: its graph as data, without Dagster."""

from assets.checkpoints import StageCheckpoint, base_of
from assets.corpora import CleanCorpus, Distinct, EvaluationItems
from assets.decisions import Decision
from assets.mixtures import MixtureRows, PreferenceRows, PromptRows
from assets.pipeline import Pipeline
from assets.reports import Reference, ReportOn
from lineage.node import Node


def nodes(pipeline: Pipeline) -> list[Node]:
    """Every node that makes an artefact, each after those that it is made from or in their order in the recipe."""
    recipe = pipeline.recipe
    return [
        EvaluationItems(pipeline),
        *(CleanCorpus(pipeline, name, source) for name, source in recipe.sources.items()),
        Distinct(pipeline),
        base_of(pipeline),
        *(MixtureRows(pipeline, name, mixture) for name, mixture in recipe.mixtures.items()),
        *(PreferenceRows(pipeline, name, preferences) for name, preferences in recipe.preferences.items()),
        *(PromptRows(pipeline, name, prompts) for name, prompts in recipe.prompts.items()),
        *(StageCheckpoint(pipeline, name, stage) for name, stage in recipe.stages.items()),
        *(ReportOn(pipeline, name, f"Scores of {name}.", (name,)) for name in dict.fromkeys(recipe.evaluation.reports)),
        Reference(pipeline),
        Decision(pipeline),
    ]
