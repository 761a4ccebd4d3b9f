"""Mixtures: token-exact shares of clean corpora, in training order."""

import dagster as dg

from assets.duplicates import NODE, removed_rows
from assets.errors import plain_failures
from assets.handles import ARTEFACT, Delivered, delivered
from assets.launch import Rebuild
from assets.making import links, make_here
from assets.pipeline import Pipeline, code_version
from assets.tracking import Tracker
from corpora.mixing import mixture as mixing
from lineage.store import Artifact, Request, Store
from recipes.schema import Mixture, identity


def mixture_of(pipeline: Pipeline, name: str, mixture: Mixture) -> dg.AssetsDefinition:
    """One mixture, tokenised with the base model's tokenizer and template."""
    checks = "mixture" if mixture.kind == "conversations" else "documents"
    splits = pipeline.recipe.splits.model_dump(mode="json")
    groups = {n: s.group for n, s in pipeline.recipe.sources.items() if s.group in mixture.members}
    shares = ", ".join(f"{group} {share:.0%}" for group, share in mixture.shares.items()) or ", ".join(mixture.groups)

    @pipeline.asset(
        "mixture",
        name,
        description=f"{mixture.size:,} {mixture.unit.replace('_', ' ')}: {shares}.",
        kinds={"parquet"},
        code_version=code_version(mixture, mixing.VERSION, splits=splits, versions=mixing.versions(mixture)),
        ins=pipeline.handles([("base",), (NODE,), *(("clean", source) for source in groups)]),
        dagster_type=ARTEFACT,
        checks=checks,
    )
    def mixed(
        context: dg.AssetExecutionContext,
        config: Rebuild,
        store: dg.ResourceParam[Store],
        tracker: dg.ResourceParam[Tracker],
        base: Artifact,
        distinct: Artifact,
        **clean: Artifact,
    ) -> Delivered:
        corpora = {source: clean[f"clean__{source}"] for source in groups}
        digests, removed = removed_rows(distinct, corpora)
        inputs = {"base": base.digest, **{f"clean/{n}": artifact.digest for n, artifact in corpora.items()}, **digests}
        sources = {n: (groups[n], artifact.path) for n, artifact in corpora.items()}
        payload = {
            "node": "mixture",
            "version": mixing.versions(mixture),
            "config": {**identity(mixture), "splits": splits, "sources": groups},
            "inputs": inputs,
        }
        overridden = any(artifact.overridden for artifact in (base, distinct, *corpora.values()))
        with plain_failures():
            artifact = make_here(
                context,
                store,
                tracker,
                Request(pipeline.name, f"mixture/{name}", payload, overridden),
                lambda work, _run: mixing.mix(
                    mixture,
                    sources,
                    base.path,
                    work,
                    removed=removed,
                    splits=pipeline.recipe.splits,
                    execution=pipeline.recipe.corpora,
                ),
                config=mixture.model_dump(mode="json"),
                inputs=inputs,
                ref=f"mixture/{name}",
                force=config.force,
            )
        return delivered(checks, artifact, links=links(tracker, artifact))

    return mixed
