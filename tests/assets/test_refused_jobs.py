"""A step whose job ended in a message deletes nothing that another attempt can go on from, and passes it on."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from assets.making import Ended, make_by_job
from jobs.job import Job
from lineage.store import Artifact
from recipes.errors import FAILED
from tests.training.made_jobs import sft_job

_ROOT = Path(__file__).parents[2]
_PLANTED = "import sys, tests.assets.test_refused_jobs as t; sys.exit(t.runs_out_of_memory(sys.argv[1]))"


def runs_out_of_memory(job_file: str) -> int:
    """In a process of its own: the job on a device whose memory ends in step 6."""
    from jobs.process import install

    stop = install()
    import torch
    import transformers

    from training import runner

    torch.set_num_threads(1)
    computed = transformers.Trainer.training_step

    def training_step(self: Any, *arguments: Any, **named: Any) -> Any:
        if self.state.global_step == 5:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return computed(self, *arguments, **named)

    transformers.Trainer.training_step = training_step
    return runner.main(Path(job_file), stop)


class Untracked:
    """In the place of MLflow."""

    tracking = None

    @contextmanager
    def run(self, *_: Any, **__: Any) -> Iterator["Untracked"]:
        yield self


class Launches:
    """Runs a job's process as a step does, or another in its place."""

    def __init__(self, run: Callable[[Sequence[str]], Ended]) -> None:
        self._run = run

    def run(self, _: Any, command: Sequence[str], **__: Any) -> Ended:
        return self._run(command)


def in_a_process(planted: str | None) -> Launches:
    def run(command: Sequence[str]) -> Ended:
        whole = [sys.executable, "-c", planted, command[-1]] if planted else list(command)
        done = subprocess.run(
            whole, cwd=_ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    return Launches(run)


def step(job: Job, launcher: Launches) -> Artifact:
    context: Any = SimpleNamespace(log=SimpleNamespace(info=print))
    tracker: Any = Untracked()
    return make_by_job(context, job.store, tracker, launcher, job, force=False)


def test_after_running_out_of_memory_the_same_recipe_with_smaller_micro_batches_goes_on(
    tiny_base: Path, tmp_path: Path
) -> None:
    job = sft_job(tiny_base, tmp_path, rows=32)
    with pytest.raises(dg.Failure) as raised:
        step(job, in_a_process(_PLANTED))
    assert not raised.value.allow_retries
    assert "out of memory in step 6" in str(raised.value.description)
    assert "the same recipe with execution.micro_batch 1 goes on after step 4" in str(raised.value.description)

    smaller = {**job.execution, "micro_batch": 1}
    changed = job.model_copy(update={"config": {**job.config, "execution": smaller}, "execution": smaller})
    sealed = step(changed, in_a_process(None))
    assert sealed.fingerprint == job.request.fingerprint
    assert sealed.metrics["resumed_from_step"] == 4
    assert sealed.metrics["steps"] == 8


def test_what_held_a_job_up_is_said_whatever_libraries_wrote_beside_it(tiny_base: Path, tmp_path: Path) -> None:
    job = sft_job(tiny_base, tmp_path)
    ended = Ended(FAILED, "sft 2/6 steps\nerror: no room; free some space\n", "Writing model shards: 100%\n")
    with pytest.raises(dg.RetryRequested) as raised:
        step(job, Launches(lambda _: ended))
    assert "resumes when run again: no room; free some space" in str(raised.value.__cause__)
