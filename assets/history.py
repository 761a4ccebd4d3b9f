"""How the scores of a recipe went over time, as a picture that Dagster's UI shows with an asset."""

import base64
from typing import Any

import dagster as dg

from assets.pipeline import Pipeline
from evaluation.pages.history import History, history
from evaluation.pages.plots import over_time
from evaluation.report import Report
from lineage.store import Artifact, Store

_LAST = 40
"""Checkpoints shown: the picture is kept in Dagster's event log, some 80 KB for a dozen."""


def scores_over_time(pipeline: Pipeline, store: Store, report: Artifact) -> dict[str, Any]:
    """`scores_over_time` metadata: every checkpoint scored by the suite of this report, the champion marked.

    The picture lies in the metadata itself, as a data URI: what it shows is what was known then.
    """
    promotion = pipeline.recipe.promotion
    suite = Report.load(report.path).suite["digest"]
    found = history(store.home, pipeline.name, promotion.registered_model, suite)
    judged = [*(target.metric for target in promotion.targets), *(guard.metric for guard in promotion.guards)]
    if not found.scored:
        return {}
    picture = over_time(found.scored[-_LAST:], judged)
    encoded = base64.b64encode(_on_paper(picture).encode()).decode()
    said = f"![scores over time](data:image/svg+xml;base64,{encoded})\n\n{_said(found, judged[0])}"
    return {"scores_over_time": dg.MetadataValue.md(said)}


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
