"""Reports: a checkpoint scored by the recipe's suite. The same checkpoint is scored once, whatever its name."""

import base64
from dataclasses import replace
from typing import Any

from assets.pipeline import Pipeline
from evaluation import suite
from evaluation.pages.history import History, history
from evaluation.pages.plots import over_time
from evaluation.registry.promotion import champion
from evaluation.report import Report
from lineage.errors import EvaluationError
from lineage.node import Given, Markdown, Node
from lineage.store import Artifact, Store
from recipes.schema import identity

_LAST = 40
"""Checkpoints shown: the picture is kept in Dagster's event log, some 80 KB for a dozen."""


class ReportOn(Node):
    """The report of one checkpoint. Its identity holds no name, so that equal bytes share one report."""

    kind = checks = "report"
    formats = frozenset({"json"})
    job = "evaluate"
    gpu = automatic = True

    def __init__(self, pipeline: Pipeline, name: str, description: str, upstream: tuple[str, ...]) -> None:
        self._pipeline, self._evaluation = pipeline, pipeline.recipe.evaluation
        super().__init__(pipeline.name, f"report/{name}", description, upstream, folder="report")

    def version(self) -> dict[str, Any]:
        tasks = self._evaluation.model_copy(update={"reports": []})
        return {"config": identity(tasks), "version": suite.VERSION, **suite.kind_versions(tasks)}

    def identity(self, given: Given) -> dict[str, Any]:
        found = suite.suite_identity(self._evaluation, self._pipeline.folder, given.cache)
        return {"version": suite.VERSION, "suite": found}

    def takes(self, given: Given) -> dict[str, Artifact]:
        (checkpoint,) = given.artefacts.values()
        return {"checkpoint": checkpoint}

    def config(self, given: Given) -> dict[str, Any]:
        suite_and_how = self._evaluation.model_dump(mode="json")
        return {"suite": suite_and_how, "folder": str(self._pipeline.folder), "cache": str(given.cache)}

    def execution(self) -> dict[str, Any]:
        return self._evaluation.execution.model_dump(mode="json")

    def shown(self, given: Given, artifact: Artifact) -> dict[str, Any]:
        """The scores as a table."""
        rows = [
            f"| {name} | {result['mean']:.3f} | {result['ci95'][0]:.3f} to {result['ci95'][1]:.3f} | {result['n']} |"
            for name, result in sorted(Report.load(artifact.path).results.items())
        ]
        head = ["| metric | mean | 95 % interval | items |", "| --- | --- | --- | --- |"]
        return {"scores": Markdown("\n".join([*head, *rows]))}


class Reference(ReportOn):
    """What the candidate must beat: the champion's report, or the base model's while there is no champion.

    When the candidate is the champion already, the report that it once was compared with: a second launch
    then reuses its decision.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._promotion = pipeline.recipe.promotion
        upstream = ("base", self._promotion.candidate, "report/base")
        super().__init__(
            pipeline, "reference", "Scores of the champion in the registry, else of the base model.", upstream
        )

    def settled(self, given: Given) -> Given:
        return replace(given, artefacts={"checkpoint": self._found(given)})

    def stands_in(self, given: Given) -> Artifact | None:
        found = given["checkpoint"]
        return found if found.node == "report" else None

    def _found(self, given: Given) -> Artifact:
        """The checkpoint to score, or the report itself where its checkpoint need not be there any more."""
        store, base, candidate = given.store, given["base"], given[self._promotion.candidate]
        current = champion(given.tracking, store.home, self._promotion.registered_model)
        if current is None:
            return base
        if current.checkpoint_digest != candidate.digest:
            opened = store.open(store.home / current.checkpoint_path)
            if opened.digest != current.checkpoint_digest:
                raise EvaluationError(
                    f"{opened.path}: holds checkpoint {opened.digest[:12]}, but the champion, version "
                    f"{current.version}, was registered from there as {current.checkpoint_digest[:12]}; restore the "
                    "folder from a backup"
                )
            return replace(opened, overridden=False)
        if current.reference_report is None:
            return base
        recorded = store.open(store.home / current.reference_report)
        return base if recorded.record["inputs"]["checkpoint"] == base.digest else recorded


def scores_over_time(pipeline: Pipeline, store: Store, report: Artifact) -> dict[str, Any]:
    """`scores_over_time` metadata: every checkpoint scored by the suite of this report, the champion marked.

    The picture lies in the metadata itself, as a data URI: what it shows is what was known then.
    """
    promotion = pipeline.recipe.promotion
    digest = Report.load(report.path).suite["digest"]
    found = history(store.home, pipeline.name, promotion.registered_model, digest)
    judged = [*(target.metric for target in promotion.targets), *(guard.metric for guard in promotion.guards)]
    if not found.scored:
        return {}
    picture = over_time(found.scored[-_LAST:], judged)
    encoded = base64.b64encode(_on_paper(picture).encode()).decode()
    said = f"![scores over time](data:image/svg+xml;base64,{encoded})\n\n{_said(found, judged[0])}"
    return {"scores_over_time": Markdown(said)}


def _on_paper(picture: str) -> str:
    """White behind it: inside an image the page's colours are not known."""
    start = picture.index(">", picture.index("<svg")) + 1
    return f'{picture[:start]}<rect width="100%" height="100%" fill="#fff"/>{picture[start:]}'


def _said(found: History, target: str) -> str:
    """The same in words, for the metric that is the target."""
    lines = [f"| checkpoint | evaluated | {target} | |", "| --- | --- | --- | --- |"]
    for one in reversed(found.scored[-_LAST:]):
        notes = ["champion" if one.champion else "was champion" if one.was_champion else ""]
        notes += ["launch overrides"] if one.overridden else []
        result = one.results.get(target)
        score = f"{result['mean']:.1%}" if result else "–"
        checkpoint = f"{one.node} `{one.checkpoint_digest[:8]}`"
        lines.append(f"| {checkpoint} | {one.at[:16].replace('T', ' ')} | {score} | {', '.join(filter(None, notes))} |")
    if found.other_suites:
        lines += ["", f"{found.other_suites} more reports were made by other suites and cannot be put beside these."]
    return "\n".join(lines)
