"""`dev`, really started: links that were stored while Dagster was served elsewhere lead to it where it is now."""

import os
from pathlib import Path
from typing import Any

import pytest

from assets.addresses import dagster_url, page_path
from assets.making import links
from assets.mlflow_links import PAGE_URL, link_version
from assets.tracking import Tracker
from lineage.store import Store
from tests.orchestration.made_pages import HTML, sealed, tracked
from tests.orchestration.servers import free_port, get, running


def test_after_a_start_on_another_port_no_stored_link_is_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPER_HOME", str(tmp_path / "home"))
    store, tracker = Store(tmp_path / "home"), Tracker(tmp_path / "home")
    decided = sealed(store, "decision", "report.html")
    runs = [tracked(tracker, "decision"), tracked(tracker, "decision")]  # the second as by --force
    stored = links(tracker, decided)
    client = _client(tracker.uri)
    version = _version(client, str(decided.path), dagster_url() + page_path("tiny", "decision", decided.fingerprint))
    client.set_tag(runs[1], "mlflow.note.content", f"Mine. {_description(client, runs[1])}")

    dagster, mlflow = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    ports = ["--dagster-port", dagster.rpartition(":")[2], "--mlflow-port", mlflow.rpartition(":")[2]]
    with running(["orchestration", "dev", *ports], {}, tmp_path / "dev.log", "Ctrl-C"):
        assert get(dagster + stored["page"]) == (200, HTML)
        assert "MLflow" in get(dagster + stored["mlflow"])[1]
        for run_id in runs:
            tags = client.get_run(run_id).data.tags
            assert get(tags[PAGE_URL]) == (200, HTML)
            assert f"[Decision page]({tags[PAGE_URL]})" in _description(client, run_id)
            assert tags["dagster.url"] == f"{dagster}/runs/d1"
            parent = client.get_run(tags["mlflow.parentRunId"])
            assert parent.data.tags["dagster.url"] == f"{dagster}/runs/d1"
        assert _description(client, runs[1]).startswith("Mine. [")
        known = client.get_model_version("tiny", version)
        assert known.tags[PAGE_URL].startswith(dagster)
        assert known.description == f"[Decision page]({known.tags[PAGE_URL]})"
        assert dagster_url() == dagster, "a run in a terminal would print and store dead links"
    assert dagster_url() == "http://127.0.0.1:3000"
    assert os.environ["MLFLOW_TRACKING_URI"] == ""


def _description(client: Any, run_id: str) -> str:
    text: str = client.get_run(run_id).data.tags["mlflow.note.content"]
    return text


def _version(client: Any, source: str, page: str) -> str:
    """A version of a registered model with the page that decided about it."""
    client.create_registered_model("tiny")
    version = client.create_model_version("tiny", source, tags={PAGE_URL: page})
    link_version(client, "tiny", version.version, "Decision page")
    return str(version.version)


def _client(uri: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(uri, uri)
