"""Small sealed artefacts with pages, and what MLflow has of them."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import dagster as dg

from assets.tracking import Tracker
from lineage.files import write_json
from lineage.store import RECORD, Artifact, Request, Store

HTML = "<!doctype html><title>Decided</title>"


def request(node: str, name: str = "one") -> Request:
    return Request("tiny", node, {"node": node, "name": name})


def sealed(store: Store, node: str, file: str, name: str = "one", at: str | None = None, **metrics: str) -> Artifact:
    """An artefact whose page is `file`, with another file beside it. at: when it was made, instead of now."""

    def make(work: Path) -> dict[str, str]:
        (work / file).write_text(HTML, encoding="utf-8")
        (work / "other.html").write_text("not a page", encoding="utf-8")
        return metrics

    artifact = store.build(request(node, name), make, config={}, inputs={}, informative=(file,))
    if at is not None:
        record = artifact.record
        write_json(artifact.path / RECORD, {**record, "provenance": {**record["provenance"], "created_at": at}})
    return artifact


def tracked(tracker: Tracker, node: str, name: str = "one") -> str:
    """The id of an MLflow run that made the artefact of this request."""
    facts = SimpleNamespace(run_id="d1", job_name="tiny", asset_key=dg.AssetKey(["tiny", *node.split("/")]))
    context = cast(dg.AssetExecutionContext, facts)
    with tracker.run(context, request(node, name), config={}, inputs={}) as run:
        return run.run_id
