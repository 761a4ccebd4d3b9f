"""Runs the tasks of one stage on a datatrove executor and returns when the last has ended.

datatrove schedules; what a task does, where its files lie and what it returned is `corpora.work.run`', so that the
bytes are those of a run without datatrove. Imports datatrove when it is imported, so only where a recipe asks for it.
"""

import shutil
import traceback
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datatrove.pipeline.base import PipelineStep  # noqa: TID253

from corpora.work.task import Task, workers_of
from lineage.errors import CorpusError
from recipes.execution import CorporaExecution

_LOGS = "datatrove"


class CorpusTask(PipelineStep):  # type: ignore[misc]
    """Tasks of ours as a pipeline step: rank i of n does the i-th of n; nothing flows between steps but files."""

    type = "Corpus"

    def __init__(self, stage: str, folder: Path, numbers: list[int]) -> None:
        self.name = stage
        super().__init__()
        self._folder = folder
        self._numbers = numbers

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        if world_size != len(self._numbers):
            raise ValueError(f"{self.name}: {len(self._numbers)} tasks given to {world_size} ranks")
        with self.track_time():
            try:
                Task(self._folder, self._numbers[rank]).run()
            except Exception:  # datatrove logs the values of variables beside a traceback, and so sensitive text
                raise RuntimeError(traceback.format_exc()) from None
        yield from data or ()


def run_on_datatrove(stage: str, tasks: list[Task], execution: CorporaExecution) -> None:
    """Run tasks of one folder. Raises CorpusError if Ray is asked for and missing, or the cluster refuses the job."""
    import subprocess

    try:
        _executor(stage, tasks, execution).run()
    except ImportError as error:
        raise CorpusError(
            f"corpora.executor is {execution.executor}: {error} Install the version that the cluster has"
        ) from None
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        if execution.executor != "slurm":
            raise
        raise CorpusError(f"{stage}: sbatch failed: {error}; the tasks' logs are in {_logs(tasks)}") from None


def _executor(stage: str, tasks: list[Task], execution: CorporaExecution) -> Any:
    shutil.rmtree(_logs(tasks), ignore_errors=True)  # its notes of what is complete; ours decide
    pipeline = [CorpusTask(stage, tasks[0].folder, [task.number for task in tasks])]
    shared = {"tasks": len(tasks), "workers": min(workers_of(execution), len(tasks)), "logging_dir": str(_logs(tasks))}
    if execution.executor == "slurm":
        from datatrove.executor import SlurmPipelineExecutor

        return SlurmPipelineExecutor(
            pipeline,
            **shared,
            job_name=f"temper-{stage}-{uuid.uuid4().hex[:8]}",
            partition=execution.partition,
            time=execution.time_limit,
            qos=execution.qos,
            env_command=execution.setup,
            mem_per_cpu_gb=execution.memory_gb,
            sbatch_args={"wait": ""},  # the barrier: sbatch ends with the last task, and fails with any
        )
    if execution.executor == "ray":
        from datatrove.executor import RayPipelineExecutor

        return RayPipelineExecutor(pipeline, **shared, mem_per_cpu_gb=execution.memory_gb, log_first=True)
    from datatrove.executor import LocalPipelineExecutor

    return LocalPipelineExecutor(pipeline, **shared, start_method="spawn")


def _logs(tasks: list[Task]) -> Path:
    return tasks[0].folder / _LOGS
