"""What a run has come to: times, scores, verdict, registry and where to look, as tables on the terminal."""

import sys
from collections.abc import Mapping
from typing import Any

import dagster as dg
from rich.markup import escape
from rich.table import Table

from assets.addresses import PAGES, dagster_url, mlflow_url, page_path
from assets.decisions import read_decision
from assets.handles import note_path, noted_artifact
from assets.pages import PAGE
from assets.pipeline import Pipeline
from evaluation.report import Report
from lineage.store import Artifact, Store
from recipes.terminal import PlainConsole

_WIDTH = 120
_VERDICTS = {"pass": "green", "fail": "red"}


class Summary:
    """The summary of one run; nodes that it did not touch are shown as the refs have them."""

    def __init__(self, instance: dg.DagsterInstance, store: Store, pipeline: Pipeline, run_id: str) -> None:
        self._instance, self._store, self._pipeline, self._run_id = instance, store, pipeline, run_id
        self._console = PlainConsole(highlight=False, width=None if sys.stdout.isatty() else _WIDTH)

    def show(self, say_where: bool = False) -> None:
        """say_where: also the folders of the reports."""
        self._console.print()
        self._console.print(self._stages())
        if reports := self._reports():
            self._console.print(_scores({name: report for name, (_, report) in reports.items()}))
        if say_where:
            for name, (artifact, _) in reports.items():
                self._console.print(f"Report   {name}: {artifact.path}", soft_wrap=True)
        self._decision()
        self._registry()
        self._console.print(f"Pages    {dagster_url()}{PAGES}", soft_wrap=True)
        self._console.print(
            f"Dagster  {dagster_url()}   MLflow  {mlflow_url()}   (all served by: temper dev)", soft_wrap=True
        )
        self._console.print(f"State    {self._store.home}")

    def facts(self) -> dict[str, Any]:
        """The same for a program."""
        reports, decided = self._reports(), self._artifact("decision")
        decision = read_decision(decided) if decided is not None else None
        return {
            "recipe": self._pipeline.name,
            "run": self._run_id,
            "nodes": self._steps(),
            "scores": {name: report.results for name, (_, report) in reports.items()},
            "reports": {name: artifact.path for name, (artifact, _) in reports.items()},
            "decision": decision and decision.model_dump(mode="json"),
            "page": decided and decided.path / PAGE,
            "registry": self._registered(),
            "home": self._store.home,
        }

    def _reports(self) -> dict[str, tuple[Artifact, Report]]:
        found = {name: self._artifact("report", name) for name in self._pipeline.recipe.evaluation.reports}
        return {name: (made, Report.load(made.path)) for name, made in found.items() if made is not None}

    def _steps(self) -> list[dict[str, Any]]:
        """What each step of the run came to, in the order of their start; seconds: None of one without an end."""
        made = {m.asset_key: m for m in self._materializations()}
        steps = []
        for stats in sorted(self._instance.get_run_step_stats(self._run_id), key=lambda s: s.start_time or 0):
            node = stats.step_key.split("__")
            materialization = made.get(dg.AssetKey(node))
            metadata = materialization.metadata if materialization is not None else {}
            steps.append(
                {
                    "node": "/".join(node[1:]),
                    "seconds": stats.end_time - stats.start_time if stats.start_time and stats.end_time else None,
                    "tokens_per_s": metadata["tokens_per_s"].value if "tokens_per_s" in metadata else None,
                    "outcome": _outcome(stats.status, metadata),
                }
            )
        return steps

    def _stages(self) -> Table:
        table = Table(title=f"{self._pipeline.name}: stages", title_justify="left")
        for column in ("stage", "wall time", "tokens/s", ""):
            table.add_column(column, justify="left" if column in ("stage", "") else "right")
        for step in self._steps():
            seconds, speed = step["seconds"], step["tokens_per_s"]
            table.add_row(
                step["node"],
                "" if seconds is None else f"{seconds:.1f} s",
                "" if speed is None else f"{speed:.0f}",
                step["outcome"],
            )
        return table

    def _decision(self) -> None:
        artifact = self._artifact("decision")
        if artifact is None:
            return
        decision = read_decision(artifact)
        colour = _VERDICTS.get(decision.verdict, "yellow")
        self._console.print(f"\nVerdict  [bold {colour}]{decision.verdict}[/] against {decision.reference_kind}")
        shown = {test.sentence: test.outcome for test in decision.tests}
        shown |= {floor.sentence: floor.outcome for floor in decision.floors}
        for reason in decision.reasons:
            if reason not in shown:
                self._console.print(f"  {escape(reason)}", soft_wrap=True)
        for sentence, outcome in shown.items():
            self._console.print(f"  {outcome:<12} {escape(sentence)}", soft_wrap=True)
        page = page_path(artifact.recipe, artifact.node, artifact.fingerprint)
        self._console.print(f"Report   {artifact.path / PAGE}", soft_wrap=True)
        self._console.print(f"         {dagster_url()}{page}", soft_wrap=True)

    def _registered(self) -> dict[str, Any] | None:
        event = self._instance.get_latest_materialization_event(self._pipeline.key("registry"))
        if event is None or event.asset_materialization is None:
            return None
        known = event.asset_materialization.metadata
        return {name: known[name].value for name in ("registered_model", "version", "aliases")}

    def _registry(self) -> None:
        if (facts := self._registered()) is None:
            return
        aliases = facts["aliases"] or "no alias"
        self._console.print(f"Registry {facts['registered_model']} version {facts['version']}: {aliases}")

    def _artifact(self, *node: str) -> Artifact | None:
        """The node's artefact in this run, else what its ref points to."""
        note = note_path(self._store.home, self._run_id, self._pipeline.key(*node))
        if note.is_file():
            return noted_artifact(self._store, note)
        return self._store.ref(self._pipeline.name, "/".join(node))

    def _materializations(self) -> list[dg.AssetMaterialization]:
        records = self._instance.get_records_for_run(
            self._run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
        ).records
        found = (record.event_log_entry.asset_materialization for record in records)
        return [materialization for materialization in found if materialization is not None]


def _scores(reports: Mapping[str, Report]) -> Table:
    table = Table(title="scores in % (95 % interval)", title_justify="left")
    table.add_column("metric")
    for name in reports:
        table.add_column(name, justify="right")
    metrics = dict.fromkeys(metric for report in reports.values() for metric in report.results)
    for metric in metrics:
        table.add_row(metric, *(_score(report, metric) for report in reports.values()))
    return table


def _score(report: Report, metric: str) -> str:
    result = report.results.get(metric)
    if result is None:
        return ""
    low, high = result["ci95"]
    return f"{result['mean']:.1%} ({low:.1%} to {high:.1%})".replace("%", "")


def _outcome(status: Any, metadata: Mapping[str, dg.MetadataValue[Any]]) -> str:
    """What became of a step: made or reused where it has an artefact."""
    if status is None or status.value != "SUCCESS":
        return status.value.lower() if status else ""
    if "reused" not in metadata:
        return ""
    return "reused" if metadata["reused"].value else "made"
