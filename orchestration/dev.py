"""`dev`: Dagster (web server and daemon) and the MLflow UI on loopback, on the state that `run` writes.

Pages are beside the Dagster UI (`orchestration.webserver`). Where the user has an MLflow server, no other is started.
"""

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

from assets.addresses import PAGES, forget_served, mlflow_url, note_served
from assets.tracking import Tracker
from jobs.mlflow_store import prepare_store
from jobs.mlflow_uri import TRACKING, is_server
from jobs.process import dies_with_parent
from orchestration.home import prepare_home
from orchestration.launcher import end_tree
from orchestration.liveness import hold_home, open_instance
from orchestration.watch import Watch
from recipes.errors import RecipeError

_HOST = "127.0.0.1"
_START_SECONDS = 120.0
_GRACE_SECONDS = 8.0
_MLFLOW = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
"""Of an idle MLflow server's 1.8 GB most is workers for jobs that nothing here asks for."""


def dev(dagster_port: int, mlflow_port: int) -> int:
    """Serve both until Ctrl-C or until one of them ends.

    Raises RecipeError for a port that is taken, and for a home that another `dev` serves.
    """
    home = prepare_home()
    tracker = Tracker(home)
    theirs = is_server(tracker.uri)
    ports = {"Dagster": dagster_port} if theirs else {"Dagster": dagster_port, "MLflow": mlflow_port}
    urls = {name: f"http://{_HOST}:{port}" for name, port in ports.items()}
    hold_home(home, ", ".join(f"{name} {url}" for name, url in urls.items()))
    for name, port in ports.items():
        _refuse_taken(f"--{name.lower()}-port", port)
    os.environ.update({f"TEMPER_{name.upper()}_URL": url for name, url in urls.items()})
    prepare_store(tracker.uri)
    tracker.relink()
    with open_instance(home):
        pass
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, _interrupt)
    web = ["orchestration.webserver", "dev", "-m", "orchestration.definitions"]
    commands = {"dagster": [*web, "-h", _HOST, "-p", str(dagster_port)]}
    if not theirs:
        commands["mlflow"] = ["mlflow", "server", "--workers", "1", "--host", _HOST, "--port", str(mlflow_port)]
        os.environ.update(_MLFLOW, MLFLOW_BACKEND_STORE_URI=tracker.uri)
    logs = home / "logs"
    logs.mkdir(exist_ok=True)
    servers = [_serve(command, logs / f"{name}.log") for name, command in commands.items()]
    try:
        note_served({name.lower(): url for name, url in urls.items()})
        print(f"Starting; messages: {logs}", flush=True)
        for name, url in urls.items():
            _wait(url, servers, logs)
            print(f"{name:<8} {url}", flush=True)
        if theirs:
            print(f"MLflow   {mlflow_url()} (yours, as {TRACKING} says)", flush=True)
        print(f"Pages    {urls['Dagster']}{PAGES}", flush=True)
        print("Ctrl-C stops what was started.", flush=True)
        with open_instance(home) as instance, Watch(instance, home, lambda line: print(line, flush=True)):
            while all(server.poll() is None for server in servers):
                time.sleep(0.5)
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        forget_served()
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
