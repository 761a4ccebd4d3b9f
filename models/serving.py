"""A server of our own: vLLM or SGLang started on loopback for one evaluation, and surely ended with it.

The server is a child in our process group that gets a SIGTERM when we die; at the end it and all that it started are
told to end, and killed if they do not. It serves one checkpoint under the checkpoint's digest, with a key drawn for
this run where it takes one from the environment, and its log goes to the work folder, which is dropped when the report
is sealed.
"""

import importlib.util
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from jobs.process import dies_with_parent
from lineage.errors import EvaluationError
from models.endpoint import Endpoint, ServerDown, look_up
from recipes.suite import Evaluation

_INSTALL = "pip install {kind}, best in an environment of its own whose bin/{kind} is on PATH: it brings its own torch"
_POLL_S = 0.2
_LAST_WORDS = 600


def command(kind: Literal["vllm", "sglang"]) -> str:
    """The program that serves. Raises EvaluationError if it is not installed."""
    beside = Path(sys.executable).with_name(kind)
    found = shutil.which(kind) or (str(beside) if beside.is_file() and importlib.util.find_spec(kind) else None)
    if found is None:
        raise EvaluationError(f"evaluation.backend: {kind} is not installed here; {_INSTALL.format(kind=kind)}")
    return found


@contextmanager
def launched(
    checkpoint: Path, digest: str, evaluation: Evaluation, log: Path, alive: Callable[[], None]
) -> Iterator[Endpoint]:
    """A server of the checkpoint, ready, under the name `digest`. alive: called while we wait; may raise to stop.

    Raises EvaluationError if it ends before it is ready, ServerDown if that takes too long.
    """
    kind: Literal["vllm", "sglang"] = "sglang" if evaluation.backend == "sglang" else "vllm"
    port = _free_port()
    key = secrets.token_urlsafe(24) if kind == "vllm" else None
    arguments = _arguments(kind, checkpoint, digest, port, evaluation)
    environment = {**os.environ, **({"VLLM_API_KEY": key} if key else {}), **_QUIET}
    with log.open("wb") as written:
        process = subprocess.Popen(
            [command(kind), *arguments],
            stdout=written,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=environment,
            preexec_fn=dies_with_parent,
        )
    server = evaluation.execution.server
    endpoint = Endpoint(
        f"evaluation.backend {kind}",
        f"http://127.0.0.1:{port}/v1",
        key,
        evaluation.batch_size,
        server.timeout_s,
        server.attempts,
    )
    try:
        _wait(process, endpoint, server.start_s, log, alive)
        yield endpoint
    finally:
        _end(process, evaluation.execution.grace_seconds)


_QUIET = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}


def _arguments(kind: str, checkpoint: Path, name: str, port: int, evaluation: Evaluation) -> list[str]:
    where = ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", name, "--dtype", evaluation.dtype]
    at_once, devices = str(evaluation.batch_size), str(evaluation.execution.devices)
    if kind == "vllm":
        own = ["--max-num-seqs", at_once, "--tensor-parallel-size", devices, "--generation-config", "vllm"]
        return ["serve", str(checkpoint), *where, *own, "--seed", str(evaluation.seed)]
    own = ["--max-running-requests", at_once, "--tp-size", devices, "--sampling-defaults", "openai"]
    return ["serve", "--model-path", str(checkpoint), *where, *own, "--random-seed", str(evaluation.seed)]


def _wait(
    process: "subprocess.Popen[bytes]", endpoint: Endpoint, most_s: float, log: Path, alive: Callable[[], None]
) -> None:
    """Until the server answers."""
    until = time.monotonic() + most_s
    while process.poll() is None:
        alive()
        try:
            status, _ = look_up(endpoint, "/models")
            if status == 200:
                return
        except ServerDown:
            pass
        if time.monotonic() > until:
            raise ServerDown(f"{endpoint.where}: not ready after {most_s:g} s; see execution.server.start_s")
        time.sleep(_POLL_S)
    words = log.read_text(encoding="utf-8", errors="replace").strip()[-_LAST_WORDS:]
    raise EvaluationError(f"{endpoint.where}: it ended with status {process.returncode} before it was ready: {words}")


def _end(process: "subprocess.Popen[bytes]", grace_s: float) -> None:
    """SIGTERM to the server and to all that it started, SIGKILL to what is left after `grace_s` seconds."""
    import psutil

    try:
        server = psutil.Process(process.pid)
        family = [server, *server.children(recursive=True)]
    except psutil.NoSuchProcess:
        family = []
    for one in family:
        _send(one.terminate)
    _, left = psutil.wait_procs(family, timeout=grace_s)
    for one in left:
        _send(one.kill)
    process.wait()


def _send(signal: Callable[[], None]) -> None:
    import psutil

    try:
        signal()
    except psutil.NoSuchProcess:
        return


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
