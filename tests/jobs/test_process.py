"""A job process ends with its parent and takes its children along."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]

JOB = """
import subprocess, sys, time
from jobs.process import install
stop = install()
child = subprocess.Popen(["sleep", "600"])
print(child.pid, flush=True)
stop.wait(60)
sys.exit(75)
"""
PARENT = f"""
import subprocess, sys
job = subprocess.Popen([sys.executable, "-c", {JOB!r}], start_new_session=True)
print(job.pid, flush=True)
job.wait()
"""


def run(code: str) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def gone(pid: int, within_s: float = 10) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def test_death_of_the_parent_ends_job_and_child() -> None:
    parent = run(PARENT)
    assert parent.stdout is not None
    job, child = int(parent.stdout.readline()), int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert gone(job)
    assert gone(child)


def test_a_signal_sets_the_event_and_the_group_is_ended() -> None:
    job = subprocess.Popen(
        [sys.executable, "-c", JOB], cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert job.stdout is not None
    child = int(job.stdout.readline())
    os.kill(job.pid, signal.SIGTERM)
    assert job.wait(timeout=10) == 75
    assert gone(child)


def test_a_second_signal_of_the_same_kind_ends_at_once() -> None:
    job = run("from jobs.process import install\nimport time\ninstall()\nprint(1, flush=True)\ntime.sleep(60)")
    assert job.stdout is not None
    job.stdout.readline()
    job.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    job.send_signal(signal.SIGTERM)
    assert job.wait(timeout=10) == -signal.SIGTERM
