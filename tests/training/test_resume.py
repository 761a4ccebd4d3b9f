"""Killed, stopped and damaged trainings end as if nothing had happened: bit-equal weights in fp32."""

import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_jobs import LORA, dpo_job, finish, grpo_job, run_here, sft_job, start, wait_for, weights_of

from lineage.job import INTERRUPTED, SEALED, Job

LONG: dict[str, Any] = {"epochs": 6.0}
KINDS = {
    "sft": lambda base, home, **more: sft_job(base, home, lora=LORA, **LONG, **more),
    "dpo": lambda base, home, **more: dpo_job(base, home, **LONG, **more),
    "grpo": lambda base, home, **more: grpo_job(base, home, **LONG, **more),
}


@pytest.fixture(scope="module")
def uninterrupted(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Final weights of each kind of job, trained in one go."""
    weights = {}
    for kind, make in KINDS.items():
        job = make(tiny_base, tmp_path_factory.mktemp(kind))
        assert run_here(job) == SEALED
        weights[kind] = weights_of(job)
    return weights


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


@pytest.mark.invariants
@pytest.mark.parametrize("kind", KINDS)
def test_kill_9_and_run_again_ends_bit_equal(
    kind: str, tiny_base: Path, tmp_path: Path, uninterrupted: dict[str, bytes]
) -> None:
    job = KINDS[kind](tiny_base, tmp_path)
    process = interrupt(job, signal.SIGKILL, random.Random(kind).uniform(0, 0.5))
    assert process.returncode == -signal.SIGKILL
    assert job.store.find(job.request) is None

    status = finish(job.write())[0] if kind == "sft" else run_here(job)

    assert status == SEALED
    found = job.store.find(job.request)
    assert found is not None
    assert found.metrics["resumed_from_step"] > 0
    assert weights_of(job) == uninterrupted[kind]


@pytest.mark.invariants
def test_a_stop_saves_and_resumes_bit_equal_even_past_a_damaged_checkpoint(
    tiny_base: Path, tmp_path: Path, uninterrupted: dict[str, bytes]
) -> None:
    job = KINDS["sft"](tiny_base, tmp_path)
    process = interrupt(job, signal.SIGTERM, 0.05, finished=2)
    assert process.returncode == INTERRUPTED
    older, newest = checkpoints(job)
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / "objects", copy / "objects")
    optimizer = newest / "optimizer.pt"
    damaged = bytearray(optimizer.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    optimizer.write_bytes(damaged)

    assert run_here(job) == SEALED
    found = job.store.find(job.request)
    assert found is not None
    assert found.metrics["resumed_from_step"] == int(older.name.partition("-")[2])
    assert weights_of(job) == uninterrupted["sft"]

    moved = job.model_copy(update={"home": copy})
    assert run_here(moved) == SEALED
    assert weights_of(moved) == uninterrupted["sft"]


def test_another_micro_batch_resumes_and_takes_the_same_steps(tiny_base: Path, tmp_path: Path) -> None:
    job = sft_job(tiny_base, tmp_path, **LONG)
    stop = threading.Event()
    watcher = threading.Thread(target=_set_when, args=(stop, lambda: checkpoints(job)))
    watcher.start()
    assert run_here(job, stop) == INTERRUPTED
    watcher.join()
    done = int(checkpoints(job)[-1].name.partition("-")[2])
    other = {**job.config, "execution": {**job.config["execution"], "micro_batch": 4}}
    changed = job.model_copy(update={"config": other, "execution": other["execution"]})

    assert run_here(changed) == SEALED
    found = changed.store.find(changed.request)
    assert found is not None
    assert found.metrics["resumed_from_step"] == done
    assert found.metrics["rows"] == 6 * 24
