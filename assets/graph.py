"""From a recipe to its assets, in the order in which a person reads them."""

import dagster as dg

from assets.checkpoints import base_checkpoint, stage_checkpoint
from assets.contamination import evaluation_items
from assets.corpora import clean_corpus, raw_sources
from assets.decisions import decision
from assets.duplicates import distinct_corpora
from assets.mixtures import mixture_of
from assets.pipeline import Pipeline
from assets.preferences import preferences_of
from assets.prompts import prompts_of
from assets.registry import registry
from assets.reports import reference_report, report_on


def graph(pipeline: Pipeline) -> list[dg.AssetsDefinition]:
    """Every asset of one recipe; adding a recipe adds a graph."""
    recipe = pipeline.recipe
    return [
        raw_sources(pipeline),
        evaluation_items(pipeline),
        *(clean_corpus(pipeline, name, source) for name, source in recipe.sources.items()),
        distinct_corpora(pipeline),
        base_checkpoint(pipeline),
        *(mixture_of(pipeline, name, mixture) for name, mixture in recipe.mixtures.items()),
        *(preferences_of(pipeline, name, preferences) for name, preferences in recipe.preferences.items()),
        *(prompts_of(pipeline, name, prompts) for name, prompts in recipe.prompts.items()),
        *(stage_checkpoint(pipeline, name, stage) for name, stage in recipe.stages.items()),
        *(report_on(pipeline, name) for name in dict.fromkeys(recipe.evaluation.reports)),
        reference_report(pipeline),
        decision(pipeline),
        registry(pipeline),
    ]
