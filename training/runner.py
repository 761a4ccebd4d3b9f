"""One training job, of any kind of stage, from its JSON to a sealed artefact; see `jobs.runner`.

An attempt that was stopped or killed leaves its checkpoints in the work folder, where the next one goes on.
"""

import os
import threading
import time
from pathlib import Path
from typing import Any

from jobs import launching, runner
from jobs.job import Job
from jobs.run_log import RunLog
from lineage.errors import TrainingError
from recipes.errors import DONE
from recipes.execution import TrainingExecution
from training import stages
from training.loop import checkpoints
from training.stages.candidates import KEPT

_KEPT = runner.Kept(
    checkpoints.FOLDER,
    lambda folder: checkpoints.newest_finished(folder) is not None or (folder / KEPT).is_file(),
    informative=("history.json", "samples.json"),
)
_NOT_PARAMS = ("execution", "folder", "cache")  # MLflow lets no param change, and these may between attempts


def main(job_file: Path, stop: threading.Event) -> int:
    """Do the job in `job_file`; returns its exit status."""
    return runner.status_of(lambda: _do(job_file, runner.read(job_file), stop))


def _do(job_file: Path, job: Job, stop: threading.Event) -> int:
    if runner.is_there(job):
        return DONE
    if job.kind not in stages.KINDS:
        raise TrainingError(f"kind {job.kind}: not a training job; run it with python -m evaluation")
    execution = TrainingExecution.model_validate(job.execution)
    if launching.needed(execution):
        return launching.launch(job_file, execution, stop)
    _settle(execution)
    return runner.make(job, _train, stop, _KEPT)


def _train(job: Job, work: Path, log: RunLog, stop: threading.Event) -> dict[str, Any]:
    log.params({name: value for name, value in job.config.items() if name not in _NOT_PARAMS})
    log.tags({f"execution.{name}": value for name, value in job.execution.items()})
    began = time.monotonic()
    metrics = stages.run_of(job.kind)(job, work, log, stop)
    metrics["wall_s"] = time.monotonic() - began
    log.metrics({name: value for name, value in metrics.items() if _is_number(value)}, metrics.get("steps", 0))
    return metrics


def _settle(execution: TrainingExecution) -> None:
    """Devices and threads, before torch is imported. One device: torch would split batches over all it sees."""
    if execution.devices == 1:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")
        os.environ["CUDA_VISIBLE_DEVICES"] = visible[0]
    if execution.threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(execution.threads)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
