"""The decision: the gate's verdict over reports, and the page that shows it to people."""

import json
from pathlib import Path
from typing import Any

from assets.pages import PAGE
from assets.pipeline import Pipeline
from assets.reports import scores_over_time
from corpora.contamination.evidence import EVIDENCE
from corpora.contamination.items import ITEMS, NODE
from evaluation.gating import contaminated, gate
from evaluation.pages.first_screen import summary_markdown
from evaluation.pages.page import render_page
from evaluation.report import Report
from lineage.hashing import file_digest
from lineage.node import Given, Markdown, Node
from lineage.store import Artifact
from recipes.schema import identity

DECISION = "decision.json"


class Decision(Node):
    """Compares the candidate with reference and base; a decision is made whatever it says."""

    kind = "decision"
    formats = frozenset({"json"})
    informative = (PAGE,)
    logged = (DECISION, PAGE)

    def __init__(self, pipeline: Pipeline) -> None:
        recipe = pipeline.recipe
        self._pipeline, self._promotion = pipeline, recipe.promotion
        self._reports = [f"report/{name}" for name in (*recipe.evaluation.reports, "reference")]
        self._stages, self._corpora = list(recipe.stages), [f"clean/{source}" for source in recipe.used_sources()]
        super().__init__(
            pipeline.name,
            "decision",
            f"May {self._promotion.candidate} become champion of {self._promotion.registered_model}?",
            (*self._reports, *self._stages, NODE, *self._corpora),
        )

    def version(self) -> dict[str, Any]:
        return {"version": gate.VERSION, "config": identity(self._promotion)}

    def identity(self, given: Given) -> dict[str, Any]:
        overridden = given[self._promotion.candidate].overridden
        return {"version": gate.VERSION, "config": {**identity(self._promotion), "overridden": overridden}}

    def takes(self, given: Given) -> dict[str, Artifact]:
        return {name: given[name] for name in self._reports}

    def outside(self, given: Given) -> dict[str, str]:
        return {"contamination": self._searched(given).digest}

    def config(self, given: Given) -> dict[str, Any]:
        return self._promotion.model_dump(mode="json")

    def make(self, given: Given, work: Path) -> dict[str, Any]:
        reports = {name.removeprefix("report/"): given[name] for name in self._reports}
        checkpoints = {name: given[name] for name in self._stages}
        overridden = given[self._promotion.candidate].overridden
        return _decide(self._pipeline, reports, checkpoints, self._searched(given), overridden, work)

    def shown(self, given: Given, artifact: Artifact) -> dict[str, Any]:
        report = given[f"report/{self._promotion.candidate}"]
        summary = Markdown(summary_markdown(read_decision(artifact)))
        return {"summary": summary, **scores_over_time(self._pipeline, given.store, report)}

    def _searched(self, given: Given) -> contaminated.Searched:
        evidence = {name.removeprefix("clean/"): given[name].path / EVIDENCE for name in self._corpora}
        return contaminated.searched(given[NODE].path / ITEMS, evidence)


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
    sources |= {name: {"group": best.group, "licence": best.licence} for name, best in recipe.best_of_n.items()}
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
