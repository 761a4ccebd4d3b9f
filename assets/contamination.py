"""Evaluation items: what no training row may be a copy of, one table a recipe; every clean corpus is held to it."""

import dagster as dg

from assets.errors import plain_failures
from assets.handles import ARTEFACT, Delivered, delivered
from assets.launch import Rebuild
from assets.making import links, make_here
from assets.pipeline import Pipeline
from assets.tracking import Tracker
from corpora.contamination import items
from lineage.hashing import fingerprint
from lineage.store import Request, Store

NODE = items.NODE

_CODE_VERSION_CHARACTERS = 12


def evaluation_items(pipeline: Pipeline) -> dg.AssetsDefinition:
    """Every item of the suite's data. How many of them a task draws, and what the gate asks, changes nothing here."""
    tasks = pipeline.recipe.evaluation.tasks
    config = items.identity_of(tasks)

    @pipeline.asset(
        NODE,
        description=f"Every item of {', '.join(tasks)}, to be kept out of training.",
        kinds={"parquet"},
        code_version=fingerprint({"config": config, "version": items.VERSION})[:_CODE_VERSION_CHARACTERS],
        dagster_type=ARTEFACT,
    )
    def collected(
        context: dg.AssetExecutionContext,
        config: Rebuild,
        store: dg.ResourceParam[Store],
        tracker: dg.ResourceParam[Tracker],
    ) -> Delivered:
        cache = store.home / "cache"
        with plain_failures():
            inputs = items.digests_of(tasks, pipeline.folder, cache)
            artifact = make_here(
                context,
                store,
                tracker,
                items_request(pipeline, inputs),
                lambda work, _run: items.collect(tasks, pipeline.folder, cache, work),
                config=items.identity_of(tasks),
                inputs=inputs,
                ref=NODE,
                force=config.force,
            )
        rows = {"dagster/row_count": artifact.metrics["items"]}
        return delivered(NODE, artifact, metadata=rows, links=links(tracker, artifact))

    return collected


def items_request(pipeline: Pipeline, inputs: dict[str, str]) -> Request:
    return Request(pipeline.name, NODE, items.payload_of(pipeline.recipe.evaluation.tasks, inputs))
