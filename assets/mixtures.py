"""Mixtures: token-exact shares of clean corpora, in training order."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from assets.data_reports import DATA_REPORT, report_subject, shown_report
from assets.duplicates import NODE, removed_rows
from assets.errors import plain_failures
from assets.handles import ARTEFACT, Delivered, delivered
from assets.launch import Rebuild
from assets.making import links, make_here
from assets.pipeline import Pipeline, code_version
from assets.tracking import Tracker
from corpora.data_report.page import Made, write_report
from corpora.mixing import mixture as mixing
from lineage.store import Artifact, Request, Store
from recipes.mixtures import Mixture
from recipes.schema import identity


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

        def made(folder: Path, checks: Mapping[str, Any]) -> Made:
            return report_subject(pipeline, name, folder, checks, corpora, distinct, base)

        def make(work: Path, _run: object) -> dict[str, Any]:
            metrics = mixing.mix(
                mixture,
                sources,
                base.path,
                work,
                removed=removed,
                splits=pipeline.recipe.splits,
                execution=pipeline.recipe.corpora,
            )
            write_report(made(work, metrics["checks"]))
            return metrics

        with plain_failures():
            artifact = make_here(
                context,
                store,
                tracker,
                Request(pipeline.name, f"mixture/{name}", payload, overridden),
                make,
                config=mixture.model_dump(mode="json"),
                inputs=inputs,
                ref=f"mixture/{name}",
                force=config.force,
                informative=(DATA_REPORT,),
                unfinished=mixing.UNFINISHED,
            )
        shown = shown_report(made(artifact.path, artifact.metrics["checks"]))
        return delivered(checks, artifact, metadata=shown, links=links(tracker, artifact))

    return mixed
