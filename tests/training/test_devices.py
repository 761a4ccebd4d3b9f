"""Two CPU processes train as one does, stop together and die together."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from made_jobs import (
    ROOT,
    dpo_job,
    finish,
    grpo_job,
    kto_job,
    orpo_job,
    reward_job,
    run_here,
    sft_job,
    simpo_job,
    start,
)
from pydantic import ValidationError

from jobs import launching
from jobs.job import Job
from lineage.errors import TrainingError
from recipes.errors import DONE, FAILED, INTERRUPTED, REFUSED
from recipes.execution import TrainingExecution
from recipes.stages import Sft
from training import rows

TWO: dict[str, Any] = {"devices": 2, "micro_batch": 1, "threads": 1}


def on_two(job: Job) -> Job:
    execution = TrainingExecution.model_validate(TWO).model_dump(mode="json")
    return job.model_copy(update={"config": {**job.config, "execution": execution}, "execution": execution})


def history(job: Job) -> list[dict[str, float]]:
    found = job.store.find(job.request)
    assert found is not None
    entries: list[dict[str, float]] = json.loads((found.path / "history.json").read_text())
    return entries


def processes_of(job: Job) -> list[psutil.Process]:
    """The processes that train, by rank; not those that started them."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if str(job.write()) in command and "accelerate.commands.launch" not in command and _rank(process) is not None:
            found.append(process)
    return sorted(found, key=lambda process: str(_rank(process)))


def _rank(process: psutil.Process) -> str | None:
    try:
        rank: str | None = process.environ().get("RANK")
    except psutil.NoSuchProcess:
        return None
    return rank


_UNEVEN: dict[str, tuple[Any, dict[str, Any], int, tuple[str, ...]]] = {
    "dpo": (
        dpo_job,
        {"pairs": 14, "batch_rows": 8, "epochs": 2.0},
        4,
        ("rewards/margins", "rewards/accuracies", "logps/chosen"),
    ),
    "reward": (reward_job, {"batch_rows": 6, "epochs": 2.0}, 6, ("accuracy", "margin")),
    "orpo": (orpo_job, {"batch_rows": 6, "epochs": 2.0}, 6, ("nll_loss", "log_odds_chosen")),
    "simpo": (simpo_job, {"batch_rows": 6, "epochs": 2.0}, 6, ("rewards/margins", "logps/chosen")),
    "kto": (kto_job, {"answers": 15, "kl_rows": 4, "batch_rows": 8, "epochs": 2.0}, 4, ("kl", "logps/chosen")),
    "grpo": (grpo_job, {"batch_rows": 12, "max_new_tokens": 4}, 4, ("reward", "kl", "completions/mean_length")),
}
"""Jobs whose last step of an epoch, forward pass or group of answers divides into no equal parts; their steps."""


@pytest.fixture(scope="module")
def shared(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Job], str]:
    """Jobs of every kind, done one after the other by two processes that are started once; what these wrote."""
    folder = tmp_path_factory.mktemp("two")
    jobs = {kind: on_two(make(tiny_base, folder / kind, **changes)) for kind, (make, changes, _, _) in _UNEVEN.items()}
    settings = folder / "accelerate.json"
    settings.write_text(json.dumps(launching.configuration(TrainingExecution.model_validate(TWO))))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(settings)),
            *(str(Path(__file__).with_name("several_jobs.py")), *(str(job.write()) for job in jobs.values())),
        ],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert done.returncode == DONE, done.stdout
    return jobs, done.stdout


@pytest.mark.parametrize("kind", sorted(_UNEVEN))
def test_two_processes_take_the_steps_of_one(
    tiny_base: Path, tmp_path: Path, shared: tuple[dict[str, Job], str], kind: str
) -> None:
    make, changes, steps, told = _UNEVEN[kind]
    job = make(tiny_base, tmp_path, **changes)
    assert run_here(job) == DONE
    jobs, output = shared
    assert output.count(f"{job.ref}: sealed") == 1
    assert output.count(f"{kind} {steps}/{steps} steps") == 1
    names = ("loss", "grad_norm", "learning_rate", *told)
    one, two = ([entry[name] for entry in history(j) for name in names] for j in (job, jobs[kind]))
    assert len(one) == steps * len(names)
    assert two == pytest.approx(one, rel=1e-4, abs=1e-5)


def test_a_job_starts_its_two_processes_and_is_sealed_once(tiny_base: Path, tmp_path: Path) -> None:
    status, output = finish(on_two(sft_job(tiny_base, tmp_path, rows=8)).write())
    assert status == DONE, output
    assert output.count("sealed") == 1


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGTERM, INTERRUPTED), (signal.SIGKILL, FAILED)])
def test_a_stop_reaches_all_and_a_death_ends_all(tiny_base: Path, tmp_path: Path, signum: int, status: int) -> None:
    """SIGTERM to the process that was started; SIGKILL to one of the two that train."""
    job = on_two(sft_job(tiny_base, tmp_path, epochs=200.0, checkpoint_steps=500))
    process = start(job.write())
    saved = job.store.work_path(job.request) / "checkpoints"
    assert process.stdout is not None
    assert any(re.match(r"sft [1-9]\d*/", line) for line in process.stdout), "no step was made"
    members = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid if signum == signal.SIGTERM else processes_of(job)[1].pid, signum)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == status, output
    assert not psutil.wait_procs(members, timeout=40)[1]
    assert bool(list(saved.glob("checkpoint-*/COMPLETE"))) == (status == INTERRUPTED)


def test_what_cannot_be_started_is_one_message(
    tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = on_two(sft_job(tiny_base, tmp_path))
    job = job.model_copy(update={"execution": {**job.execution, "launcher": {"strategy": "fsdp2"}}})
    assert run_here(job) == REFUSED
    assert "execution.launcher.strategy fsdp2: needs GPUs" in capsys.readouterr().out
    with pytest.raises(ValidationError, match="no process has the whole model"):
        TrainingExecution.model_validate({"devices": 2, "launcher": {"strategy": "fsdp2"}, "samples_every": 5})


@pytest.mark.parametrize("zero", ["zero1", "zero2", "zero3", "zero3_offload"])
def test_strategies_are_configurations_that_accelerate_reads(tmp_path: Path, zero: str) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    for strategy in ("ddp", "fsdp2", "deepspeed"):
        execution = TrainingExecution.model_validate({"devices": 2, "launcher": {"strategy": strategy, "zero": zero}})
        file = tmp_path / f"{strategy}.json"
        file.write_text(json.dumps(launching.configuration(execution)))
        assert load_config_from_file(str(file)).num_processes == 2


def test_every_step_has_a_micro_batch_for_each_process() -> None:
    stage = Sft(kind="sft", mixture="m", start="base", learning_rate=0.1, batch_rows=8, seed=0)
    plan = rows.plan(list(range(20, 40)), stage)
    alone, shared = rows.micro_batches(plan, 2), rows.micro_batches(plan, 2, processes=4)
    assert [place for batch in shared for place in batch] == [place for batch in alone for place in batch]
    assert [len(batch) for batch in alone[8:]] == [2, 2]
    assert [len(batch) for batch in shared[8:]] == [1, 1, 1, 1]
    with pytest.raises(TrainingError, match=r"the last step of an epoch has 4 rows, fewer than execution\.devices 8"):
        rows.micro_batches(plan, 1, processes=8)
