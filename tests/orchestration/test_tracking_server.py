"""An MLflow server of the user's own, as `MLFLOW_TRACKING_URI` names it, with a password in the address."""

import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from assets.tracking import Tracker
from evaluation.registry.promotion import champion, promote
from lineage.errors import TrainingError
from lineage.store import Store
from tests.evaluation.made_promotions import MODEL, checkpoint, decision
from tests.orchestration.made_pages import sealed, tracked
from tests.orchestration.project import Project
from tests.orchestration.servers import ROOT, free_port, running

_SECRET = "hunter2"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server, without the workers for jobs, which take most of its memory."""
    folder, port = tmp_path_factory.mktemp("server"), free_port()
    command = ["mlflow", "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{folder}/runs.db", "--artifacts-destination", str(folder / "files")]
    environment = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with running(command, environment, folder / "log", f"http://127.0.0.1:{port}/health"):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def own(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The user's environment: the server's address with name and password."""
    address = server.replace("://", f"://someone:{_SECRET}@")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")  # so that what the code puts there is taken away again
        monkeypatch.delenv(name)
    monkeypatch.setenv("TEMPER_HOME", str(tmp_path))
    return address


def test_a_run_and_its_files_are_on_the_server_and_the_password_is_nowhere(
    server: str, own: str, tmp_path: Path, tiny_base: Path
) -> None:
    project = Project(tmp_path / "project", tiny_base)
    printed = project.run("--select", "base", "evaluation_items", "report/base").printed
    client = _client(server)
    experiment = client.get_experiment_by_name("temper/tiny")
    runs = {run.data.tags.get("dagster.asset_key"): run for run in client.search_runs([experiment.experiment_id])}
    report = runs["tiny/report/base"]
    assert report.info.status == "FINISHED"
    assert report.data.metrics["sums/accuracy"] >= 0
    assert "report.json" in {file.path for file in client.list_artifacts(report.info.run_id)}
    assert not (project.home / "mlflow" / "mlflow.db").exists()
    assert f"MLflow  {server}" in printed
    written = [file for file in project.home.rglob("*") if file.is_file() and _SECRET.encode() in file.read_bytes()]
    assert written == []
    assert _SECRET not in printed
    assert all(_SECRET not in f"{run.data.tags} {run.data.params}" for run in runs.values())


def test_a_champion_is_crowned_on_the_server(server: str, own: str, tmp_path: Path) -> None:
    new = checkpoint(tmp_path)
    uri = Tracker(tmp_path).uri
    promoted = promote(uri, tmp_path, MODEL, new, decision(new), "d1", {}, {})
    assert promoted.aliases == ["champion"]
    held = champion(uri, tmp_path, MODEL)
    assert held is not None and held.checkpoint_digest == new.digest
    assert not (tmp_path / "mlflow" / "artifacts").exists()
    assert _client(server).get_model_version_by_alias(MODEL, "champion").version == promoted.version
    assert os.environ["MLFLOW_TRACKING_URI"] == own


def test_dev_starts_no_mlflow_of_its_own_and_keeps_the_links_there(server: str, own: str, tmp_path: Path) -> None:
    tracker, port = Tracker(tmp_path), free_port()
    decided = _sealed_page(tmp_path)
    run_id = tracked(tracker, "decision")
    log = tmp_path / "dev.log"
    with running(["orchestration", "dev", "--dagster-port", str(port)], {}, log, "Ctrl-C"):
        said = log.read_text(encoding="utf-8")
        assert f"{server} (yours, as MLFLOW_TRACKING_URI says)" in said
        assert not (tmp_path / "logs" / "mlflow.log").exists()
        tags = _client(server).get_run(run_id).data.tags
        assert tags["temper.page"] == f"http://127.0.0.1:{port}/temper/pages/tiny/decision/{decided}"
        assert _SECRET not in said
    assert tracker.url(decided) == f"{server}/#/experiments/{_experiment(server, run_id)}/runs/{run_id}"


def test_a_run_in_another_mlflow_is_not_linked(own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = Tracker(tmp_path)
    tracked(tracker, "decision")
    decided = _sealed_page(tmp_path)
    assert tracker.url(decided) is not None
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert tracker.url(decided) is None


@pytest.mark.parametrize("command", [("run", "demo"), ("dev",)])
def test_a_server_that_does_not_answer_is_one_sentence_before_anything_runs(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    ports = ["--dagster-port", str(free_port())] if command == ("dev",) else []
    environment = {"TEMPER_HOME": str(tmp_path), "MLFLOW_TRACKING_URI": f"http://someone:{_SECRET}@{nobody}"}
    done = subprocess.run(
        [sys.executable, "-m", "orchestration", *command, *ports],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=180,  # MLflow alone would ask again for four minutes
        check=False,
    )
    assert done.returncode == 1
    assert f"MLflow at http://{nobody} (MLFLOW_TRACKING_URI) does not answer: Connection refused" in done.stderr
    assert "Traceback" not in done.stderr and _SECRET not in done.stdout + done.stderr
    assert not (tmp_path / "objects").exists()


def test_a_server_that_wants_a_password_gets_the_one_of_the_address(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own: str
) -> None:
    with _guarded("someone:p@ss") as guarded:
        address = f"http://someone:p%40ss@127.0.0.1:{guarded}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        Tracker(tmp_path).check()
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "wrong")
        with pytest.raises(TrainingError, match="401") as raised:
            Tracker(tmp_path).check()
    assert "p%40ss" not in str(raised.value)


def test_a_registry_elsewhere_is_refused(own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", f"http://other:{_SECRET}@127.0.0.1:1")
    with pytest.raises(TrainingError, match=r"MLFLOW_REGISTRY_URI is http://127\.0\.0\.1:1, but runs go to") as raised:
        Tracker(tmp_path).check()
    assert _SECRET not in str(raised.value)
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", own)
    Tracker(tmp_path).check()


@contextmanager
def _guarded(credentials: str) -> Iterator[int]:
    """The port of a server that answers 401 to whoever does not say who it is."""
    wanted = f"Basic {base64.b64encode(credentials.encode()).decode()}"

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            known = self.headers["Authorization"] == wanted
            self.send_response(200 if known else 401)
            self.end_headers()
            self.wfile.write(b"{}" if known else b"Who are you?")

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def _sealed_page(home: Path) -> str:
    """The fingerprint of a decision with a page."""
    return sealed(Store(home), "decision", "report.html").fingerprint


def _experiment(server: str, run_id: str) -> str:
    experiment: str = _client(server).get_run(run_id).info.experiment_id
    return experiment


def _client(uri: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(uri, uri)
