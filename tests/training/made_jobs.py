"""Training jobs on the tiny model, and the processes that run them."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

from jobs.job import Job, JobInput
from lineage.store import Artifact, Store
from recipes.candidates import Candidates, ModelSignal
from recipes.execution import TrainingExecution
from recipes.schema import identity
from recipes.stages import Dpo, Grpo, Kto, Orpo, Pretrain, Reward, Sft, Simpo, StageBase
from tests import tiny

ROOT = Path(__file__).resolve().parents[2]
STAGE = {
    "start": "base",
    "learning_rate": 0.01,
    "batch_rows": 4,
    "precision": "fp32",
    "seed": 7,
    "checkpoint_steps": 2,
}
LORA = {"rank": 4, "alpha": 8.0, "dropout": 0.1}
EXECUTION = {"micro_batch": 2, "threads": 1}


def sft_job(base: Path, home: Path, rows: int = 24, execution: dict[str, Any] | None = None, **changes: Any) -> Job:
    """SFT of the tiny base on `rows` made-up conversations, in a store of its own."""
    mixture = tiny.sealed(home, "mixture", lambda work: tiny.write_mixture(work, base, rows), rows=rows)
    stage = Sft.model_validate({"kind": "sft", "mixture": "mixture", "execution": EXECUTION, **STAGE, **changes})
    inputs = {"start": JobInput.of(Store(home).open(base)), "mixture": JobInput.of(mixture)}
    return _job(home, stage, inputs, execution)


def dpo_job(base: Path, home: Path, pairs: int = 16, execution: dict[str, Any] | None = None, **changes: Any) -> Job:
    """DPO of the tiny base on `pairs` made-up pairs, in a store of its own."""
    made = tiny.sealed(home, "preferences", lambda work: tiny.write_pairs(work, base, pairs), pairs=pairs)
    fields = {"kind": "dpo", "preferences": "preferences", "beta": 0.1, "execution": EXECUTION, **STAGE, **changes}
    return _of_preferences(base, home, Dpo.model_validate(fields), made, execution)


def pretrain_job(
    base: Path, home: Path, documents: int = 60, execution: dict[str, Any] | None = None, **changes: Any
) -> Job:
    """Pretraining of the tiny base on made-up documents in sequences of 32 tokens, 12 more kept for validation."""

    def make(work: Path) -> None:
        tiny.write_documents(work, base, 12, seed=1)
        (work / "rows.parquet").rename(work / "validation.parquet")
        tiny.write_documents(work, base, documents)

    made = tiny.sealed(home, "mixture", make, documents=documents)
    stage = Pretrain.model_validate(
        {"kind": "pretrain", "mixture": "mixture", "execution": EXECUTION, **STAGE, **changes}
    )
    return _job(home, stage, {"start": JobInput.of(Store(home).open(base)), "mixture": JobInput.of(made)}, execution)


def reward_job(base: Path, home: Path, execution: dict[str, Any] | None = None, **changes: Any) -> Job:
    """A reward model of the tiny base from 16 made-up pairs and 5 that are kept for validation."""

    def make(work: Path) -> None:
        tiny.write_pairs(work, base, 5, seed=1)
        (work / "pairs.parquet").rename(work / "validation.parquet")
        tiny.write_pairs(work, base, 16)

    fields = {"kind": "reward", "preferences": "preferences", "execution": EXECUTION, **STAGE, **changes}
    made = tiny.sealed(home, "preferences", make, validation=5)
    return _of_preferences(base, home, Reward.model_validate(fields), made, execution)


def orpo_job(base: Path, home: Path, execution: dict[str, Any] | None = None, **changes: Any) -> Job:
    """ORPO of the tiny base on 16 made-up pairs."""
    made = tiny.sealed(home, "preferences", lambda work: tiny.write_pairs(work, base, 16), pairs=16)
    fields = {"kind": "orpo", "preferences": "preferences", "beta": 0.1, "execution": EXECUTION, **STAGE, **changes}
    return _of_preferences(base, home, Orpo.model_validate(fields), made, execution)


def simpo_job(base: Path, home: Path, execution: dict[str, Any] | None = None, **changes: Any) -> Job:
    """SimPO of the tiny base on 16 made-up pairs."""
    made = tiny.sealed(home, "preferences", lambda work: tiny.write_pairs(work, base, 16), pairs=16)
    fields = {"kind": "simpo", "preferences": "preferences", "execution": EXECUTION, **STAGE, **changes}
    return _of_preferences(base, home, Simpo.model_validate(fields), made, execution)


def kto_job(base: Path, home: Path, answers: int = 17, execution: dict[str, Any] | None = None, **changes: Any) -> Job:
    """KTO of the tiny base on made-up answers, two to a forward pass where `changes` say nothing else."""
    made = tiny.sealed(home, "preferences", lambda work: tiny.write_unpaired(work, base, answers), answers=answers)
    fields: dict[str, Any] = {"kind": "kto", "preferences": "preferences", "beta": 0.1, "kl_rows": 2}
    fields["execution"] = {**EXECUTION, "micro_batch": 1}
    return _of_preferences(base, home, Kto.model_validate({**fields, **STAGE, **changes}), made, execution)


def _of_preferences(base: Path, home: Path, stage: StageBase, made: Artifact, execution: dict[str, Any] | None) -> Job:
    inputs = {"start": JobInput.of(Store(home).open(base)), "preferences": JobInput.of(made)}
    return _job(home, stage, inputs, execution)


def grpo_job(base: Path, home: Path, prompts: int = 12, execution: dict[str, Any] | None = None, **changes: Any) -> Job:
    """GRPO of the tiny base on `prompts` sums, in a store of its own.

    A random model is never right and never stops, so what it is rewarded for is to say a letter.
    """
    made = tiny.sealed(home, "prompts", lambda work: tiny.write_prompts(work, base, prompts), prompts=prompts)
    fields = {
        "kind": "grpo",
        "prompts": "prompts",
        "rewards": [{"kind": "format", "pattern": "(?s).*z.*"}],
        "generations": 4,
        "max_new_tokens": 8,
        "execution": EXECUTION,
        **STAGE,
        "batch_rows": 8,
        **changes,
    }
    inputs = {"start": JobInput.of(Store(home).open(base)), "prompts": JobInput.of(made)}
    return _job(home, Grpo.model_validate(fields), inputs, execution)


def candidates_job(base: Path, home: Path, prompts: int = 12, **changes: Any) -> Job:
    """Answers of the tiny base to `prompts` sums of various lengths, three to each, in a store of its own."""
    made = tiny.sealed(home, "prompts", lambda work: tiny.write_prompts(work, base, prompts, terms=6), prompts=prompts)
    fields = {"checkpoint": "base", "prompts": "prompts", "samples": 3, "max_new_tokens": 8, "seed": 7, "batch_size": 8}
    section = Candidates.model_validate({**fields, "dtype": "float32", **changes})
    inputs = {"checkpoint": JobInput.of(Store(home).open(base)), "prompts": JobInput.of(made)}
    return Job(
        kind="candidates",
        recipe="tiny",
        node="candidates/tries",
        ref="candidates/tries",
        home=home,
        payload={
            "node": "candidates",
            "version": 1,
            "config": section.drawn_as(),
            "inputs": {name: given.digest for name, given in inputs.items()},
        },
        config=section.model_dump(mode="json", exclude={"signals"}),
        execution={**section.execution.model_dump(mode="json"), "threads": 1},
        inputs=inputs,
    )


def reward_signal_job(home: Path, checkpoint: Artifact, candidates: Artifact, **changes: Any) -> Job:
    """A reward model's word on candidates, in the store that has both."""
    fields = {"kind": "reward_model", "checkpoint": "reward", "batch_size": 3, "execution": {"threads": 1}, **changes}
    section = ModelSignal.model_validate(fields)
    inputs = {"candidates": JobInput.of(candidates), "checkpoint": JobInput.of(checkpoint)}
    return Job(
        kind="reward_signal",
        recipe="tiny",
        node="signals/tries/liked",
        ref="signals/tries/liked",
        home=home,
        payload={
            "node": "signal",
            "version": 1,
            "config": identity(section),
            "inputs": {name: given.digest for name, given in inputs.items()},
        },
        config=section.model_dump(mode="json"),
        execution=section.execution.model_dump(mode="json"),
        inputs=inputs,
    )


def _job(home: Path, stage: Any, inputs: dict[str, JobInput], execution: dict[str, Any] | None) -> Job:
    digests = {name: given.digest for name, given in inputs.items()}
    return Job(
        kind=stage.kind,
        recipe="tiny",
        node=stage.kind,
        ref=stage.kind,
        home=home,
        payload={"node": stage.kind, "version": 1, "config": identity(stage), "inputs": digests},
        config=stage.model_dump(mode="json"),
        execution=TrainingExecution.model_validate(execution or EXECUTION).model_dump(mode="json"),
        inputs=inputs,
    )


def start(job_file: Path) -> "subprocess.Popen[str]":
    """`python -m training job.json` as a process, leader of its own session."""
    return subprocess.Popen(
        [sys.executable, "-m", "training", str(job_file)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(job_file: Path) -> tuple[int, str]:
    """Run a job to its end: exit status and everything it wrote."""
    process = start(job_file)
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


def run_here(job: Job, stop: threading.Event | None = None) -> int:
    """Run a job in this process, on one thread as the others do; its exit status."""
    import torch

    from training import runner

    torch.set_num_threads(1)
    return runner.main(job.write(), stop or threading.Event())


def weights_of(job: Job) -> bytes:
    """The bytes of the sealed model's weights."""
    found = job.store.find(job.request)
    assert found is not None, "nothing was sealed"
    return (found.path / "model.safetensors").read_bytes()


def falls(found: Artifact) -> bool:
    """Whether the loss of a training's second half is lower on average than that of the first."""
    losses = [entry["loss"] for entry in json.loads((found.path / "history.json").read_text(encoding="utf-8"))]
    half = len(losses) // 2
    return fmean(losses[half:]) < fmean(losses[:half])


def wait_for(condition: Callable[[], object], process: "subprocess.Popen[str]", seconds: float = 120) -> None:
    """Wait until `condition` holds while `process` runs."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, f"ended early: {process.stdout and process.stdout.read()}"
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)
