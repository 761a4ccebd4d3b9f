"""From a recipe to its assets, in the order in which a person reads them: its nodes, and what stands at both ends.

At the one end the raw sources are observed, at the other the registry is told; neither makes an artefact.
"""

import warnings
from collections.abc import Iterator

import dagster as dg

from assets.addresses import dagster_url, page_path
from assets.decisions import read_decision
from assets.handles import shown
from assets.making import AUTOMATIC, asset_of, plain_failures
from assets.mlflow_links import PAGE_URL, link_version
from assets.nodes import nodes
from assets.pages import label_of
from assets.pipeline import Pipeline
from assets.reports import scores_over_time
from assets.tracking import Tracker
from corpora.sources import observe
from evaluation.gating import gate
from evaluation.registry import promotion as promoting
from evaluation.registry.registered import record_scores, registry_client
from evaluation.report import Report
from lineage.hashing import fingerprint
from lineage.node import version_of
from lineage.store import Artifact, Store
from recipes.schema import identity

_KINDS = {
    **{"pypi": "python", "hf": "huggingface", "gym": "python", "path": "file", "https": "file"},
    **{"s3": "s3", "gs": "googlecloud", "labels": "sql"},
}


def graph(pipeline: Pipeline) -> list[dg.AssetsDefinition]:
    """Every asset of one recipe; adding a recipe adds a graph."""
    return [raw_sources(pipeline), *(asset_of(pipeline, node) for node in nodes(pipeline)), registry(pipeline)]


def raw_sources(pipeline: Pipeline) -> dg.AssetsDefinition:
    """All sources of a recipe: one observation step that records the data version of each."""
    declared = [
        dg.AssetSpec(
            pipeline.key("raw", name),
            group_name=pipeline.name,
            description=f"{source.uri}, group {source.group}, licence {source.licence}",
            kinds={_KINDS[source.scheme]},
            owners=pipeline.owners,
        )
        for name, source in pipeline.recipe.sources.items()
    ]

    def raw(context: dg.AssetExecutionContext, store: dg.ResourceParam[Store]) -> Iterator[dg.ObserveResult]:
        for key in sorted(context.selected_asset_keys):
            source = pipeline.recipe.sources[key.path[-1]]
            with plain_failures():
                digest = observe(source, pipeline.folder, store.home / "cache")
            yield dg.ObserveResult(
                asset_key=key,
                data_version=dg.DataVersion(digest),
                metadata={"uri": source.uri, "group": source.group, "licence": source.licence, "digest": digest},
            )

    with warnings.catch_warnings(category=dg.BetaWarning, action="ignore"):
        observed: dg.AssetsDefinition = dg.multi_observable_source_asset(
            specs=declared, name=f"{pipeline.name}__raw", can_subset=True
        )(raw)
    return observed


def registry(pipeline: Pipeline) -> dg.AssetsDefinition:
    """The candidate as a version of the registered model, champion only if the decision says pass.

    Doing it again with the same decision changes nothing.
    """
    promotion = pipeline.recipe.promotion
    candidate = promotion.candidate
    roles = {"candidate": candidate, "reference": "reference", "anchor": "base"}
    upstream = [candidate, *(f"report/{name}" for name in roles.values()), "decision"]

    @dg.asset(
        key=pipeline.key("registry"),
        group_name=pipeline.name,
        description=f"{candidate} as a version of {promotion.registered_model} in the MLflow registry.",
        kinds={"mlflow"},
        owners=pipeline.owners,
        code_version=version_of({"config": identity(promotion), "version": gate.VERSION}),
        ins={name.replace("/", "__"): dg.AssetIn(key=pipeline.key(*name.split("/"))) for name in upstream},
        automation_condition=AUTOMATIC,
    )
    def registered(
        context: dg.AssetExecutionContext,
        store: dg.ResourceParam[Store],
        tracker: dg.ResourceParam[Tracker],
        **handles: Artifact,
    ) -> dg.MaterializeResult:  # type: ignore[type-arg] # as in assets.handles
        decision = handles["decision"]
        page = page_path(decision.recipe, decision.node, decision.fingerprint)
        with plain_failures():
            promoted = promoting.promote(
                tracker.uri,
                store.home,
                promotion.registered_model,
                handles[candidate],
                read_decision(decision),
                decision.digest,
                {role: handles[f"report__{name}"].path for role, name in roles.items()},
                {"dagster.run_id": context.run_id, PAGE_URL: dagster_url() + page},
            )
            client = registry_client(tracker.uri)
            link_version(client, promotion.registered_model, promoted.version, label_of(decision.node))
            record_scores(
                client,
                tracker.uri,
                store.home,
                pipeline.name,
                promoted.source,
                Report.load(handles[f"report__{candidate}"].path),
            )
        state = {"version": promoted.version, "aliases": promoted.aliases, "checkpoint": handles[candidate].digest}
        return dg.MaterializeResult(
            value=None,
            data_version=dg.DataVersion(fingerprint(state)),
            metadata={
                "registered_model": promotion.registered_model,
                "version": promoted.version,
                "aliases": ", ".join(promoted.aliases),
                "page": dg.MetadataValue.url(page),
                **shown(scores_over_time(pipeline, store, handles[f"report__{candidate}"])),
            },
        )

    return registered
