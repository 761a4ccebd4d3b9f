"""The decision: the gate's verdict over reports, and the page that shows it to people."""

import json
from pathlib import Path
from typing import Any

import dagster as dg

from assets.errors import plain_failures
from assets.handles import ARTEFACT, Delivered, delivered
from assets.history import scores_over_time
from assets.launch import Rebuild
from assets.making import links, make_here
from assets.pages import PAGE
from assets.pipeline import Pipeline, code_version
from assets.tracking import TrackedRun, Tracker
from corpora.contamination.evidence import EVIDENCE
from corpora.contamination.items import ITEMS, NODE
from evaluation.gating import contaminated, gate
from evaluation.pages.first_screen import summary_markdown
from evaluation.pages.page import render_page
from evaluation.report import Report
from lineage.hashing import file_digest
from lineage.store import Artifact, Request, Store
from recipes.schema import identity

DECISION = "decision.json"


def decision(pipeline: Pipeline) -> dg.AssetsDefinition:
    """Compares the candidate with reference and base; a decision is made whatever it says."""
    promotion = pipeline.recipe.promotion
    names = [*pipeline.recipe.evaluation.reports, "reference"]
    stages = list(pipeline.recipe.stages)
    corpora = pipeline.recipe.used_sources()
    searched = [(NODE,), *(("clean", source) for source in corpora)]

    @pipeline.asset(
        "decision",
        description=f"May {promotion.candidate} become champion of {promotion.registered_model}?",
        kinds={"json"},
        code_version=code_version(promotion, gate.VERSION),
        ins=pipeline.handles([*(("report", name) for name in names), *((name,) for name in stages), *searched]),
        dagster_type=ARTEFACT,
    )
    def decided(
        context: dg.AssetExecutionContext,
        config: Rebuild,
        store: dg.ResourceParam[Store],
        tracker: dg.ResourceParam[Tracker],
        **handles: Artifact,
    ) -> Delivered:
        reports = {name: handles[f"report__{name}"] for name in names}
        checkpoints = {name: handles[name] for name in stages}
        overridden = handles[promotion.candidate].overridden
        evidence = {source: handles[f"clean__{source}"].path / EVIDENCE for source in corpora}
        found = contaminated.searched(handles[NODE].path / ITEMS, evidence)
        inputs = {
            **{f"report/{name}": artifact.digest for name, artifact in reports.items()},
            "contamination": found.digest,
        }
        payload = {
            "node": "decision",
            "version": gate.VERSION,
            "config": {**identity(promotion), "overridden": overridden},
            "inputs": inputs,
        }

        def make(work: Path, run: TrackedRun) -> dict[str, Any]:
            metrics = _decide(pipeline, reports, checkpoints, found, overridden, work)
            for name in (DECISION, PAGE):
                run.artifact(work / name)
            return metrics

        with plain_failures():
            artifact = make_here(
                context,
                store,
                tracker,
                Request(pipeline.name, "decision", payload, any(r.overridden for r in handles.values())),
                make,
                config=promotion.model_dump(mode="json"),
                inputs=inputs,
                ref="decision",
                force=config.force,
                informative=(PAGE,),
            )
        shown = {**_summary(artifact), **scores_over_time(pipeline, store, reports[promotion.candidate])}
        return delivered("decision", artifact, metadata=shown, links=links(tracker, artifact))

    return decided


def read_decision(artifact: Artifact) -> gate.Decision:
    return gate.Decision.model_validate_json((artifact.path / DECISION).read_text(encoding="utf-8"))


def _decide(
    pipeline: Pipeline,
    artifacts: dict[str, Artifact],
    checkpoints: dict[str, Artifact],
    searched: contaminated.Searched,
    overridden: bool,
    work: Path,
) -> dict[str, Any]:
    """Write decision and page into `work`; returns the metrics."""
    promotion = pipeline.recipe.promotion
    reports = {name: Report.load(artifact.path) for name, artifact in artifacts.items()}
    candidate, reference, base = (reports[name] for name in (promotion.candidate, "reference", "base"))
    against_base = reference.subject["checkpoint_digest"] == base.subject["checkpoint_digest"]
    found = gate.decide(
        promotion,
        candidate,
        reference,
        base,
        reference_kind="base" if against_base else "champion",
        overridden=overridden,
        contamination=contaminated.contamination_of(searched, candidate, reference, base, promotion.power),
    )
    context = {**_context(pipeline, artifacts, checkpoints), **_again(pipeline, artifacts, checkpoints)}
    page = render_page(found, reports, _histories(checkpoints), context)
    (work / DECISION).write_text(found.to_json(), encoding="utf-8")
    (work / PAGE).write_text(page, encoding="utf-8")
    return {"verdict": found.verdict, "reasons": list(found.reasons), "reference_kind": found.reference_kind}


def _context(pipeline: Pipeline, reports: dict[str, Artifact], checkpoints: dict[str, Artifact]) -> dict[str, Any]:
    """What the page says beside the scores: what it cost, and under which licences the texts are."""
    recipe = pipeline.recipe
    sources = {name: {"group": source.group, "licence": source.licence} for name, source in recipe.sources.items()}
    made = {**checkpoints, **{f"report on {name}": report for name, report in reports.items() if name != "reference"}}
    return {
        "recipe": pipeline.name,
        "description": recipe.description,
        "work": {name: artifact.metrics for name, artifact in made.items()},
        "sources": {"base model": {"group": "weights", "licence": recipe.model.licence}, **sources},
    }


def _again(pipeline: Pipeline, reports: dict[str, Artifact], checkpoints: dict[str, Artifact]) -> dict[str, Any]:
    """How to make it again: commands, and what it was made with."""
    candidate = pipeline.recipe.promotion.candidate
    recorded = checkpoints.get(candidate, reports[candidate]).record
    provenance = recorded["provenance"]
    commit, changed = provenance["commit"], provenance["uncommitted_changes"]
    pair = " ".join(str(reports[name].path) for name in (candidate, "reference"))
    commands = [
        f"git checkout {commit}" + ("  # and the changes that were not committed" if changed else "") if commit else "",
        "pip install --constraint constraints.txt --editable .",
        f"temper run {pipeline.path}",
        f"temper compare {pair} --recipe {pipeline.path} --out page.html",
    ]
    made = {
        "recipe file": f"sha256 {file_digest(pipeline.path)}",
        "commit": f"{commit or 'not recorded'}{' with uncommitted changes' if changed else ''}",
        "python": f"{provenance['python']} on {provenance['platform']}",
        "packages": ", ".join(f"{name} {version}" for name, version in provenance["versions"].items()),
        **{f"artefact {name}": artifact.digest for name, artifact in checkpoints.items()},
        **{f"input of {candidate}: {name}": digest for name, digest in recorded["inputs"].items()},
    }
    return {"again": [command for command in commands if command], "made": made}


def _histories(checkpoints: dict[str, Artifact]) -> dict[str, list[dict[str, Any]]]:
    files = {name: artifact.path / "history.json" for name, artifact in checkpoints.items()}
    return {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items() if file.is_file()}


def _summary(artifact: Artifact) -> dict[str, Any]:
    return {"summary": dg.MetadataValue.md(summary_markdown(read_decision(artifact)))}
