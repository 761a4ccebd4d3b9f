"""One job in several processes, started by `accelerate launch` and ended together.

The process that was asked to do the job becomes their parent: it passes a termination on to each of them (the
launcher in between would give them thirty seconds and no second word) and turns what they came to into one exit
status. A process that dies takes the others along, because the launcher ends them. The settings that a user may have
stored for `accelerate` are not read: a job means the same on every machine.
"""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jobs.process import dies_with_parent
from lineage.errors import TrainingError
from recipes.errors import DONE, FAILED, INTERRUPTED, REFUSED
from recipes.execution import TrainingExecution

_STATUS_FOLDER = "TEMPER_STATUS_FOLDER"
_POLL_S = 0.1

_KINDS = {"ddp": "MULTI_GPU", "fsdp2": "FSDP", "deepspeed": "DEEPSPEED"}
_FSDP2 = {
    "fsdp_version": 2,
    "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
    "fsdp_reshard_after_forward": True,
    "fsdp_state_dict_type": "FULL_STATE_DICT",
    "fsdp_cpu_ram_efficient_loading": False,
}
_ZERO: dict[str, dict[str, Any]] = {
    "zero1": {"zero_stage": 1},
    "zero2": {"zero_stage": 2},
    "zero3": {"zero_stage": 3},
    "zero3_offload": {"zero_stage": 3, "offload_optimizer_device": "cpu", "offload_param_device": "cpu"},
}


def needed(execution: TrainingExecution) -> bool:
    """Whether this process is to start others rather than train."""
    return execution.devices > 1 and "RANK" not in os.environ


def launch(job_file: Path, execution: TrainingExecution, stop: threading.Event) -> int:
    """Do the job in `execution.devices` processes; returns its exit status. Raises TrainingError."""
    _must_be_able(execution)
    with TemporaryDirectory() as folder:
        settings = Path(folder) / "accelerate.json"
        settings.write_text(json.dumps(configuration(execution)), encoding="utf-8")
        command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(settings)]
        launcher = subprocess.Popen(
            [*command, "--module", "training", str(job_file)],
            env={**os.environ, _STATUS_FOLDER: folder},
            preexec_fn=dies_with_parent,
        )
        told = False
        while launcher.poll() is None:
            if stop.wait(_POLL_S) and not told:
                told = True
                _tell(launcher.pid)
            elif told:
                _wait(launcher)
        return _came_to(Path(folder), execution.devices)


def _must_be_able(execution: TrainingExecution) -> None:
    import torch

    strategy, gpus = execution.launcher.strategy, torch.cuda.device_count()
    if strategy != "ddp" and not gpus:
        raise TrainingError(f"execution.launcher.strategy {strategy}: needs GPUs, and there are none; use ddp")
    if gpus and execution.devices > gpus:
        raise TrainingError(f"execution.devices: {execution.devices} are asked for, {gpus} are here")
    if strategy == "deepspeed" and importlib.util.find_spec("deepspeed") is None:
        raise TrainingError("execution.launcher.strategy deepspeed: DeepSpeed is not installed; pip install deepspeed")


def configuration(execution: TrainingExecution) -> dict[str, Any]:
    """What `accelerate launch` is told: how many processes, and what they share."""
    strategy = execution.launcher.strategy
    settings: dict[str, Any] = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": _KINDS[strategy],
        "num_machines": 1,
        "machine_rank": 0,
        "num_processes": execution.devices,
        "main_process_port": 0,
        "mixed_precision": "no",
        "use_cpu": False,
        "debug": False,
    }
    if strategy == "fsdp2":
        settings["fsdp_config"] = _FSDP2
    if strategy == "deepspeed":
        saved_whole = {"zero3_init_flag": False, "zero3_save_16bit_model": True}
        settings["deepspeed_config"] = {**_ZERO[execution.launcher.zero], **saved_whole}
    return settings


def said_status(main: Callable[[], int]) -> int:
    """In one of the processes: do the job, leave its status to the parent, and exit well if it was a stop."""
    status = main()
    if (folder := os.environ.get(_STATUS_FOLDER)) is None:
        return status
    (Path(folder) / f"{os.environ['RANK']}.status").write_text(str(status), encoding="utf-8")
    return DONE if status == INTERRUPTED else status


def _tell(launcher: int) -> None:
    """SIGTERM to every process that trains, and none to the launcher between us."""
    import psutil

    for process in psutil.Process(launcher).children():
        try:
            process.send_signal(signal.SIGTERM)
        except psutil.NoSuchProcess:
            continue


def _wait(launcher: "subprocess.Popen[bytes]") -> None:
    try:
        launcher.wait(_POLL_S)
    except subprocess.TimeoutExpired:
        return


def _came_to(folder: Path, processes: int) -> int:
    """One status of all: a refusal by any, else a stop or a seal by all, else a failure."""
    said = [int(file.read_text(encoding="utf-8")) for file in folder.glob("*.status")]
    if REFUSED in said:
        return REFUSED
    if len(said) == processes and len(set(said)) == 1:
        return said[0]
    return FAILED
