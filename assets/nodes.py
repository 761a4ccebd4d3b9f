"""The nodes of a recipe: its graph as data, without Dagster."""

from assets.candidates import BestAnswers, CandidateRows, signals_on
from assets.checkpoints import StageCheckpoint, base_of
from assets.corpora import CleanCorpus, Distinct, EvaluationItems
from assets.decisions import Decision
from assets.mixtures import MixtureRows, PreferenceRows, PromptRows
from assets.pipeline import Pipeline
from assets.reports import Reference, ReportOn
from lineage.node import Node


def nodes(pipeline: Pipeline) -> list[Node]:
    """Every node that makes an artefact, family by family, each in the order of the recipe."""
    recipe = pipeline.recipe
    return [
        EvaluationItems(pipeline),
        *(CleanCorpus(pipeline, name, source) for name, source in recipe.sources.items()),
        Distinct(pipeline),
        base_of(pipeline),
        *(MixtureRows(pipeline, name, mixture) for name, mixture in recipe.mixtures.items()),
        *(PromptRows(pipeline, name, prompts) for name, prompts in recipe.prompts.items()),
        *(CandidateRows(pipeline, name, section) for name, section in recipe.candidates.items()),
        *(node for name, section in recipe.candidates.items() for node in signals_on(pipeline, name, section)),
        *(BestAnswers(pipeline, name, section) for name, section in recipe.best_of_n.items()),
        *(PreferenceRows(pipeline, name, preferences) for name, preferences in recipe.preferences.items()),
        *(StageCheckpoint(pipeline, name, stage) for name, stage in recipe.stages.items()),
        *(ReportOn(pipeline, name, f"Scores of {name}.", (name,)) for name in dict.fromkeys(recipe.evaluation.reports)),
        Reference(pipeline),
        Decision(pipeline),
    ]
