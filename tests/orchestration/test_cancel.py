"""Terminating a run from the UI: the real web server, daemon, run worker and step, and a trainer that will not go."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest

from assets.making import GPU
from orchestration.home import prepare_home
from orchestration.launcher import end_tree
from orchestration.liveness import open_instance

_LOCATION = Path(__file__).with_name("stubborn_location.py")
_LAUNCH = """mutation($selector: JobOrPipelineSelector!) {
  launchRun(executionParams: {selector: $selector, runConfigData: {}}) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  }
}"""
_TERMINATE = "mutation($run: String!) { terminateRun(runId: $run) { __typename } }"
_LOCATIONS = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name location { name } } } } }"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TEMPER_HOME", str(tmp_path / "home"))
    for name in ("DAGSTER_HOME", "DAGSTER_DISABLE_TELEMETRY", "DO_NOT_TRACK", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.delenv(name, raising=False)
    return prepare_home()


@pytest.fixture
def ui(home: Path, tmp_path: Path) -> Iterator["Ui"]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "dagster", "dev", "-f", str(_LOCATION), "-h", "127.0.0.1", "-p", str(port)]
    root = Path(__file__).parent.parent.parent
    environment = {**os.environ, "STUBBORN_PIDS": str(tmp_path / "pids"), "PYTHONPATH": str(root)}
    with (tmp_path / "dev.log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, text=True, start_new_session=True)
        try:
            yield Ui(f"http://127.0.0.1:{port}/graphql")
        finally:
            end_tree(server, 10)


class Ui:
    """What the browser would send."""

    def __init__(self, url: str) -> None:
        self._url = url

    def ask(self, query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(self._url, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)["data"]

    def location(self) -> dict[str, str] | None:
        try:
            nodes = self.ask(_LOCATIONS)["repositoriesOrError"].get("nodes")
        except (urllib.error.URLError, OSError):
            return None
        return (
            {"repositoryName": nodes[0]["name"], "repositoryLocationName": nodes[0]["location"]["name"]}
            if nodes
            else None
        )


def test_terminate_ends_a_stubborn_trainer_and_its_child_and_frees_the_slot(home: Path, tmp_path: Path, ui: Ui) -> None:
    location = _until(ui.location, 90)
    selector = {**location, "pipelineName": "__ASSET_JOB", "assetSelection": [{"path": ["stubborn"]}]}
    run_id = ui.ask(_LAUNCH, selector=selector)["launchRun"]["run"]["runId"]
    pids = tmp_path / "pids"
    _until(pids.is_file, 90)
    trainer, child = (psutil.Process(int(pid)) for pid in pids.read_text().split())
    with open_instance(home) as instance:
        assert _claimed(instance) == 1

        asked = time.monotonic()
        assert ui.ask(_TERMINATE, run=run_id)["terminateRun"]["__typename"] == "TerminateRunSuccess"
        _until(lambda: not _lives(trainer) and not _lives(child) and _claimed(instance) == 0, 30)
        took = time.monotonic() - asked

        _until(lambda: instance.get_run_by_id(run_id).is_finished, 10)
        assert instance.get_run_by_id(run_id).status is dg.DagsterRunStatus.CANCELED
    assert took < 10


def _claimed(instance: dg.DagsterInstance) -> int:
    return instance.event_log_storage.get_concurrency_info(GPU).active_slot_count


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _until(condition: Callable[[], Any], seconds: float) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s")
