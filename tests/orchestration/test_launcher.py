"""The launcher with real processes. Terminating a run from the UI is in test_cancel."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import psutil

from assets.making import Ended
from orchestration.launcher import LocalLauncher, end_tree

_STUBBORN = Path(__file__).with_name("stubborn_trainer.py")


def _launch(code: str, home: Path, grace_seconds: float = 1.0) -> Ended:
    ended: list[Ended] = []

    @dg.asset
    def job(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        ended.append(LocalLauncher(home).run(context, [sys.executable, "-c", code], grace_seconds=grace_seconds))
        return dg.MaterializeResult()

    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    assert dg.materialize([job], instance=dg.DagsterInstance.ephemeral(), run_config=quiet).success
    return ended[0]


def test_exit_status_and_last_lines_come_back(tmp_path: Path) -> None:
    ended = _launch("import sys; print('error: no such file'); print('noise', file=sys.stderr); sys.exit(2)", tmp_path)
    assert ended == (2, "error: no such file", "noise")


def test_a_signal_is_a_negative_status(tmp_path: Path) -> None:
    assert _launch("import os; os.kill(os.getpid(), 9)", tmp_path).status == -signal.SIGKILL


def test_what_a_job_leaves_behind_is_ended(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    code = (
        "import pathlib, subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}])\n"
        f"pathlib.Path({str(pid)!r}).write_text(str(child.pid))"
    )
    assert _launch(code, tmp_path).status == 0
    assert not psutil.pid_exists(int(pid.read_text())) or _is_zombie(int(pid.read_text()))


def test_pipes_messages_and_environment_reach_the_job(tmp_path: Path) -> None:
    code = "from dagster_pipes import open_dagster_pipes\nwith open_dagster_pipes() as p: print(p.asset_key)"
    assert _launch(code, tmp_path).stdout == "job"


def test_a_stubborn_tree_is_gone_within_its_grace(tmp_path: Path) -> None:
    process, members = _stubborn(tmp_path)
    began = time.monotonic()
    end_tree(process, grace_seconds=2)
    assert time.monotonic() - began < 4
    assert not any(_lives(member) for member in members)


def test_a_job_dies_with_a_killed_step(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = (
        "import dagster as dg, pathlib, sys\n"
        "from orchestration.launcher import LocalLauncher\n"
        "@dg.asset\n"
        "def job(context: dg.AssetExecutionContext) -> None:\n"
        f"    LocalLauncher(pathlib.Path({str(tmp_path)!r})).run(\n"
        f"        context, [sys.executable, {str(_STUBBORN)!r}, {str(pids)!r}], grace_seconds=6)\n"
        "dg.materialize([job], instance=dg.DagsterInstance.ephemeral())\n"
    )
    root = Path(__file__).parent.parent.parent
    step = subprocess.Popen(
        [sys.executable, "-c", code], cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while not pids.is_file():
        assert step.poll() is None
        time.sleep(0.1)
    trainer, child = (psutil.Process(int(pid)) for pid in pids.read_text().split())
    step.kill()
    step.wait()
    deadline = time.monotonic() + 5
    while _lives(trainer) and time.monotonic() < deadline:
        time.sleep(0.05)
    child.kill()
    assert not _lives(trainer)


def _stubborn(folder: Path) -> tuple["subprocess.Popen[str]", list[psutil.Process]]:
    pids = folder / "pids"
    process = subprocess.Popen([sys.executable, str(_STUBBORN), str(pids)], text=True, start_new_session=True)
    while not pids.is_file():
        time.sleep(0.05)
    return process, [psutil.Process(int(pid)) for pid in pids.read_text().split()]


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _is_zombie(pid: int) -> bool:
    return os.path.exists(f"/proc/{pid}") and psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
