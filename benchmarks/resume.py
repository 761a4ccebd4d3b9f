"""Jobs killed with SIGKILL at random moments and run again, against the same jobs left alone: equal to the bit?

`python -m benchmarks.resume --kills 20 --seed 17` does so for each kind of stage on a tiny random model, in fp32 on one
thread. A job is a process of its own, forked from one that has the libraries in memory, so that a kill falls into its
work and not into imports. A moment is drawn from the time that the job takes when it is left alone, of a third of the
kills from its saves; a job that ends before its moment is not counted and another is drawn. What is sealed in the end
is compared by its digest, over every file but those with times in them. The last line is one JSON object: for each
kind `kills`, `bit_equal`, and how many kills fell where.
"""

import argparse
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from jobs.job import Job
from lineage.store import Artifact
from recipes.errors import DONE
from tests import tiny
from tests.training.made_jobs import LORA, dpo_job, grpo_job, sft_job
from training.loop import checkpoints

JOBS: dict[str, Callable[[Path, Path], Job]] = {
    "sft": lambda base, home: sft_job(base, home, lora=LORA, epochs=4.0),
    "dpo": lambda base, home: dpo_job(base, home, epochs=5.0),
    "grpo": lambda base, home: grpo_job(base, home, epochs=3.0),
}
"""A job of each kind, of some twenty steps with a checkpoint after every second: SFT of an adapter with dropout."""

_LIBRARIES = [
    "training.runner",
    "training.loop.loop",
    "training.stages.sft",
    "training.stages.dpo",
    "training.stages.grpo",
    "training.rollouts",
    "peft",
    "trl",
]
_SAVING = 1 / 3
_POLL_S = 0.0005
_LONGEST_S = 300.0


@dataclass(frozen=True)
class Whole:
    """A job that was left alone: what it sealed, and how long it took."""

    artifact: Artifact
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--stages", nargs="+", choices=[*JOBS], default=[*JOBS])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(figures(Path(folder), arguments.stages, arguments.kills, arguments.seed)))


def figures(folder: Path, kinds: list[str], kills: int, seed: int) -> dict[str, dict[str, Any]]:
    """`kills`, `bit_equal` and `where` for each kind of stage."""
    base = tiny.sealed(folder / "base", "base", tiny.write_checkpoint).path
    _forking().Process(target=str).start()  # the libraries are loaded before a clock starts
    found = {}
    for kind in kinds:
        whole = _left_alone(JOBS[kind](base, folder / kind / "whole"))
        print(f"{kind}: left alone, {whole.seconds:.1f} s and {whole.artifact.metrics['steps']} steps", flush=True)
        rng = random.Random(f"{seed} {kind}")
        where: Counter[str] = Counter()
        equal = drawn = 0
        while sum(where.values()) < kills:
            drawn += 1
            job = JOBS[kind](base, folder / kind / str(drawn))
            moment = _killed(job, rng.uniform(0, whole.seconds), in_a_save=rng.random() < _SAVING)
            if moment is None:
                continue
            where[moment] += 1
            same = _left_alone(job).artifact.digest == whole.artifact.digest
            equal += same
            print(
                f"{kind}: kill {sum(where.values())} of {kills}, {moment}: {'equal' if same else 'NOT EQUAL'}",
                flush=True,
            )
        found[kind] = {"kills": kills, "bit_equal": equal, "where": dict(sorted(where.items()))}
    return found


def _left_alone(job: Job) -> Whole:
    began = time.monotonic()
    process = _started(job)
    process.join(_LONGEST_S)
    seconds = time.monotonic() - began
    artifact = job.store.find(job.request)
    if process.exitcode != DONE or artifact is None:
        process.kill()
        raise SystemExit(f"{job.kind}: ended with {process.exitcode} and sealed {artifact}")
    return Whole(artifact, seconds)


def _killed(job: Job, after_s: float, in_a_save: bool) -> str | None:
    """Start the job and kill it after so many seconds, or in its first save from then on; where it was, if alive."""
    process = _started(job)
    process.join(after_s)
    while in_a_save and process.is_alive() and not _unfinished(job):
        time.sleep(_POLL_S)
    process.kill()
    process.join()
    return _place(job) if process.exitcode == -signal.SIGKILL else None


def _place(job: Job) -> str:
    """Where a job was that is no more."""
    if job.store.find(job.request):
        return "after the seal"
    if _unfinished(job):
        return "in a save"
    work = job.store.work_path(job.request)
    if (work / "history.json").exists():
        return "after the last step"
    return "between saves" if list(work.glob(f"{checkpoints.FOLDER}/*/COMPLETE")) else "before the first save"


def _unfinished(job: Job) -> list[Path]:
    folder = job.store.work_path(job.request) / checkpoints.FOLDER
    return [c for c in folder.glob("checkpoint-*") if not checkpoints.is_complete(c)]


def _started(job: Job) -> BaseProcess:
    process = _forking().Process(target=_run, args=(job.write(), job.home / "job.log"))
    process.start()
    return process


def _forking() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_LIBRARIES)
    return context


def _run(job_file: Path, log: Path) -> None:
    """The job in this process, as `python -m training` does it, its output in a file."""
    import torch

    from training import runner

    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    torch.set_num_threads(1)
    sys.exit(runner.main(job_file, threading.Event()))


if __name__ == "__main__":
    main()
