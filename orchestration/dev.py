"""`dev`: Dagster (web server and daemon) and the MLflow UI on loopback, on the state that `run` writes."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import FrameType

from assets.tracking import Tracker
from orchestration.home import prepare_home
from orchestration.instance import open_instance
from orchestration.launcher import end_tree
from orchestration.liveness import hold_home
from orchestration.watch import Watch
from recipes.load import RecipeError
from training.mlflow_store import prepare_store
from training.process import dies_with_parent

_HOST = "127.0.0.1"
_START_SECONDS = 120.0
_GRACE_SECONDS = 8.0


def dev(dagster_port: int, mlflow_port: int) -> int:
    """Serve both until Ctrl-C or until one of them ends.

    Raises RecipeError for a port that is taken, and for a home that another `dev` serves.
    """
    home = prepare_home()
    urls = {"Dagster": f"http://{_HOST}:{dagster_port}", "MLflow": f"http://{_HOST}:{mlflow_port}"}
    hold_home(home, ", ".join(f"{name} {url}" for name, url in urls.items()))
    for name, port in (("--dagster-port", dagster_port), ("--mlflow-port", mlflow_port)):
        _refuse_taken(name, port)
    os.environ.update(TEMPER_DAGSTER_URL=urls["Dagster"], TEMPER_MLFLOW_URL=urls["MLflow"])
    tracker = Tracker(home)
    prepare_store(tracker.uri)
    with open_instance(home):
        pass
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, _interrupt)
    dagster = ["dagster", "dev", "-m", "orchestration.definitions", "-h", _HOST, "-p", str(dagster_port)]
    mlflow = ["mlflow", "server", "--backend-store-uri", tracker.uri, "--workers", "1"]
    mlflow += ["--host", _HOST, "--port", str(mlflow_port)]
    logs = home / "logs"
    logs.mkdir(exist_ok=True)
    servers = [_serve(command, logs / f"{command[0]}.log") for command in (dagster, mlflow)]
    try:
        print(f"Starting; messages of both: {logs}", flush=True)
        for name, url in urls.items():
            _wait(url, servers, logs)
            print(f"{name:<8} {url}", flush=True)
        print("Ctrl-C stops both.", flush=True)
        with open_instance(home) as instance, Watch(instance, home, lambda line: print(line, flush=True)):
            while all(server.poll() is None for server in servers):
                time.sleep(0.5)
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        for server in servers:
            end_tree(server, _GRACE_SECONDS)


def _interrupt(_signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _serve(command: list[str], log: Path) -> "subprocess.Popen[str]":
    """A server in a session of its own that does not outlive this process, even if this one is killed."""
    with log.open("a") as file:
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            stdout=file,
            stderr=file,
            text=True,
            start_new_session=True,
            preexec_fn=dies_with_parent,
        )


def _refuse_taken(option: str, port: int) -> None:
    with socket.socket() as probe:
        if probe.connect_ex((_HOST, port)) == 0:
            raise RecipeError(f"port {port} on {_HOST} is taken; choose another with {option}")


def _wait(url: str, servers: "list[subprocess.Popen[str]]", logs: Path) -> None:
    """Until the server answers, or one of them has ended, or it is too late."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and all(server.poll() is None for server in servers):
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - our own loopback address
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise RecipeError(f"{url} does not answer; see {logs}")
