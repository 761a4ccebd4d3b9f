"""Two commands on one home: two `dev`, two runs of one recipe, a run that fails."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import dagster as dg
import psutil
import pytest

from tests.orchestration.project import ROOT, Project


@pytest.fixture
def project(tmp_path: Path, tiny_base: Path) -> Project:
    return Project(tmp_path / "project", tiny_base)


def test_a_second_dev_is_refused_and_the_servers_of_a_killed_one_go_with_it(tmp_path: Path) -> None:
    first = _dev(tmp_path)
    assert first.stdout is not None
    try:
        assert "Starting" in first.stdout.readline()
        servers = psutil.Process(first.pid).children(recursive=True)
        refused = _dev(tmp_path)
        try:
            said, _ = refused.communicate(timeout=60)
        finally:
            refused.terminate()
        assert refused.returncode == 2
        assert f"process {first.pid} (Dagster http://127.0.0.1:" in said
        assert said.count("\n") == 1
    finally:
        first.send_signal(signal.SIGKILL)
        first.communicate()
    _, alive = psutil.wait_procs(servers, timeout=30)
    assert servers
    assert not alive


def test_a_second_run_waits_for_what_the_first_makes_and_reuses_it(project: Project) -> None:
    runs = [project.start("--select", "evaluation_items") for _ in range(2)]
    both = [run.communicate(timeout=120) for run in runs]
    printed = [out + err for out, err in both]
    assert [run.returncode for run in runs] == [0, 0], printed
    assert sum("reused" in text for text in printed) == 1


def test_a_run_whose_node_failed_is_a_failure_and_not_canceled(project: Project) -> None:
    (project.folder / "chat.jsonl").write_bytes(b"not a row\n")
    done = project.command("--select", "clean/chat", "base", "evaluation_items")
    assert done.returncode == 1
    with dg.DagsterInstance.from_config(str(project.home / "dagster")) as instance:
        [run] = instance.get_runs()
        assert run.status is dg.DagsterRunStatus.FAILURE
        assert run.tags["dagster/failure_reason"] == "STEP_FAILURE"


def _dev(folder: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "orchestration", "dev"]
    command += ["--dagster-port", str(_free_port()), "--mlflow-port", str(_free_port())]
    environment = {**os.environ, "TEMPER_HOME": str(folder / "home")}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
