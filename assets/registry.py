"""The registry: the candidate as a version of the registered model, champion only if the decision says pass."""

import dagster as dg

from assets.addresses import dagster_url, page_path
from assets.decisions import read_decision
from assets.errors import plain_failures
from assets.history import scores_over_time
from assets.mlflow_links import PAGE_URL, link_version
from assets.pages import label_of
from assets.pipeline import Pipeline, code_version
from assets.tracking import Tracker
from evaluation.gating import gate
from evaluation.registry import promotion as promoting
from evaluation.registry.registered import record_scores, registry_client
from evaluation.report import Report
from lineage.hashing import fingerprint
from lineage.store import Artifact, Store

_AUTOMATIC = dg.AutomationCondition.eager() & dg.AutomationCondition.all_deps_blocking_checks_passed()


def registry(pipeline: Pipeline) -> dg.AssetsDefinition:
    """Registers the candidate; doing it again with the same decision changes nothing."""
    promotion = pipeline.recipe.promotion
    candidate = promotion.candidate
    roles = {"candidate": candidate, "reference": "reference", "anchor": "base"}
    nodes = [(candidate,), *(("report", name) for name in roles.values()), ("decision",)]

    @pipeline.asset(
        "registry",
        description=f"{candidate} as a version of {promotion.registered_model} in the MLflow registry.",
        kinds={"mlflow"},
        code_version=code_version(promotion, gate.VERSION),
        ins=pipeline.handles(nodes),
        automation_condition=_AUTOMATIC,
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
                **scores_over_time(pipeline, store, handles[f"report__{candidate}"]),
            },
        )

    return registered
