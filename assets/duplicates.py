"""Duplicates: which rows of a recipe's corpora say the same, and which of them mixtures and preferences leave out."""

from collections.abc import Iterable
from pathlib import Path

import dagster as dg

from assets.errors import plain_failures
from assets.handles import ARTEFACT, Delivered, delivered
from assets.launch import Rebuild
from assets.making import links, make_here
from assets.pipeline import Pipeline, code_version
from assets.tracking import Tracker
from corpora.duplicates import near, outcome
from lineage.store import Artifact, Request, Store
from recipes.schema import identity

NODE = "distinct"


def distinct_corpora(pipeline: Pipeline) -> dg.AssetsDefinition:
    """One search over all clean corpora that mixtures and preferences use."""
    recipe = pipeline.recipe
    section, named = recipe.duplicates, recipe.used_sources()

    @pipeline.asset(
        NODE,
        description=f"Rows of {', '.join(named)} that say what another says: {section.cap} of each kind stays.",
        kinds={"parquet"},
        code_version=code_version(section, near.VERSION),
        ins=pipeline.handles(("clean", source) for source in named),
        dagster_type=ARTEFACT,
        checks=NODE,
    )
    def distinct(
        context: dg.AssetExecutionContext,
        config: Rebuild,
        store: dg.ResourceParam[Store],
        tracker: dg.ResourceParam[Tracker],
        **clean: Artifact,
    ) -> Delivered:
        corpora = {source: clean[f"clean__{source}"] for source in named}
        inputs = {f"clean/{source}": artifact.digest for source, artifact in corpora.items()}
        payload = {"node": NODE, "version": near.VERSION, "config": identity(section), "inputs": inputs}
        request = Request(pipeline.name, NODE, payload, any(artifact.overridden for artifact in corpora.values()))
        folders = {source: artifact.path for source, artifact in corpora.items()}
        with plain_failures():
            artifact = make_here(
                context,
                store,
                tracker,
                request,
                lambda work, _run: near.find(folders, section, work, recipe.corpora),
                config={
                    **section.model_dump(mode="json"),
                    "execution": recipe.corpora.model_dump(mode="json"),
                },
                inputs=inputs,
                ref=NODE,
                force=config.force,
                unfinished=near.UNFINISHED,
            )
        rows = {"dagster/row_count": artifact.metrics["kept"]}
        return delivered(NODE, artifact, metadata=rows, links=links(tracker, artifact))

    return distinct


def removed_rows(distinct: Artifact, sources: Iterable[str]) -> tuple[dict[str, str], dict[str, Path]]:
    """By source the digest, as an input of what is made of it, and the file of the rows that are left out.

    So a duplicate found in other sources makes nothing stale.
    """
    files = {source: outcome.removed_file(distinct.path, source) for source in sources}
    recorded = distinct.record["files"]
    digests = {
        f"removed/{source}": recorded[file.relative_to(distinct.path).as_posix()]["sha256"]
        for source, file in files.items()
    }
    return digests, files
