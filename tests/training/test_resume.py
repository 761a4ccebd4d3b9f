"""Killed, stopped and damaged trainings end as if nothing had happened: bit-equal weights in fp32."""

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_jobs import LORA, ROOT, run_here, sft_job, start, wait_for, weights_of

from jobs.job import Job
from recipes.errors import DONE, FAILED, INTERRUPTED

LONG: dict[str, Any] = {"epochs": 6.0}


def long_job(base: Path, home: Path) -> Job:
    return sft_job(base, home, lora=LORA, **LONG)


@pytest.fixture(scope="module")
def uninterrupted(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Final weights of the job, trained in one go."""
    job = long_job(tiny_base, tmp_path_factory.mktemp("whole"))
    assert run_here(job) == DONE
    return weights_of(job)


def checkpoints(job: Job) -> list[Path]:
    """Finished checkpoints, oldest first."""
    found = (job.store.work_path(job.request) / "checkpoints").glob("checkpoint-*/COMPLETE")
    return sorted((c.parent for c in found), key=lambda c: int(c.name.partition("-")[2]))


def _set_when(stop: threading.Event, condition: Callable[[], object]) -> None:
    while not condition():
        time.sleep(0.02)
    stop.set()


def interrupt(job: Job, signum: int, after_s: float, finished: int = 1) -> "subprocess.Popen[str]":
    """Start a job and send it a signal some time after it has finished so many checkpoints."""
    process = start(job.write())
    wait_for(lambda: len(checkpoints(job)) >= finished, process)
    time.sleep(after_s)
    os.kill(process.pid, signum)
    process.wait(timeout=60)
    return process


def test_a_command_killed_with_kill_9_resumes_bit_equal(tiny_base: Path, tmp_path: Path, uninterrupted: bytes) -> None:
    job = long_job(tiny_base, tmp_path)
    process = interrupt(job, signal.SIGKILL, random.Random(3).uniform(0, 0.5))
    assert process.returncode == -signal.SIGKILL
    assert job.store.find(job.request) is None

    assert run_here(job) == DONE
    found = job.store.find(job.request)
    assert found is not None
    assert found.metrics["resumed_from_step"] > 0
    assert weights_of(job) == uninterrupted


def test_a_stop_saves_and_resumes_bit_equal_even_past_a_damaged_checkpoint(
    tiny_base: Path, tmp_path: Path, uninterrupted: bytes
) -> None:
    job = long_job(tiny_base, tmp_path)
    process = interrupt(job, signal.SIGTERM, 0.05, finished=2)
    assert process.returncode == INTERRUPTED
    older, newest = checkpoints(job)
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / "objects", copy / "objects")
    optimizer = newest / "optimizer.pt"
    damaged = bytearray(optimizer.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    optimizer.write_bytes(damaged)

    assert run_here(job) == DONE
    found = job.store.find(job.request)
    assert found is not None
    assert found.metrics["resumed_from_step"] == int(older.name.partition("-")[2])
    assert weights_of(job) == uninterrupted

    moved = job.model_copy(update={"home": copy})
    assert run_here(moved) == DONE
    assert weights_of(moved) == uninterrupted


def test_a_disk_that_is_full_in_the_middle_of_a_save_costs_nothing_but_the_time_since_the_last(
    tiny_base: Path, tmp_path: Path, uninterrupted: bytes
) -> None:
    job = long_job(tiny_base, tmp_path)
    blocks = 1000  # of 1024 bytes: adapter and optimizer fit, tokenizer.json does not
    command = f"ulimit -f {blocks}; exec {sys.executable} -m training {job.write()}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == FAILED
    assert "checkpoint-2 could not be written" in done.stdout
    assert not list((job.store.work_path(job.request) / "checkpoints").glob("checkpoint-*"))

    assert run_here(job) == DONE
    assert weights_of(job) == uninterrupted


def test_another_micro_batch_resumes_takes_the_same_steps_and_says_so(
    tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = sft_job(tiny_base, tmp_path, **LONG)
    stop = threading.Event()
    watcher = threading.Thread(target=_set_when, args=(stop, lambda: checkpoints(job)))
    watcher.start()
    assert run_here(job, stop) == INTERRUPTED
    watcher.join()
    done = int(checkpoints(job)[-1].name.partition("-")[2])
    other = {**job.config, "execution": {**job.config["execution"], "micro_batch": 4}}
    changed = job.model_copy(update={"config": other, "execution": other["execution"]})

    assert run_here(changed) == DONE
    assert (
        "equal but for rounding to a run in one go, since it began with micro_batch 2, now 4" in capsys.readouterr().out
    )
    found = changed.store.find(changed.request)
    assert found is not None
    assert found.metrics["resumed_from_step"] == done
    assert found.metrics["rows"] == 6 * 24
