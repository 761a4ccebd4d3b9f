"""The loop that every stage shares: the trainer's settings, resuming and stopping; `training.loop.callbacks` looks on.

One optimizer step is `batch_rows` rows however a machine splits them, so another micro-batch resumes from
the same checkpoints; another kind of device has another random state and starts over.
"""

import math
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch  # noqa: TID253 - only job processes import this module
from transformers import PrinterCallback  # noqa: TID253

from jobs import group
from jobs.job import Job
from jobs.memory import ran_out
from jobs.progress import say
from jobs.run_log import RunLog
from lineage.errors import Interrupted, Resumable, TrainingError
from lineage.files import write_json
from recipes.stages import Kto, StageBase
from recipes.trl_settings import ON_GPU
from training import quantized
from training.loop import checkpoints, memory
from training.loop.callbacks import StepCallback, told
from training.loop.measures import Meter, cost
from training.loop.samples import FILE as SAMPLES
from training.loop.samples import Samples, prompts
from training.rows import StepPlan

HISTORY = "history.json"
_RATES = ("tokens_per_s", "padded_tokens_per_s", "mfu_percent", "device_seconds")


def arguments(stage: StageBase, plan: StepPlan, work: Path) -> dict[str, Any]:
    """Arguments common to TRL's configs, each default that bites set, and what the recipe passes on as `args`."""
    execution = stage.execution
    if stage.args.get("optim") in ON_GPU and not torch.cuda.is_available():
        raise TrainingError(f"args.optim {stage.args['optim']} needs a GPU, and there is none; leave it out")
    with_warmup = stage.schedule == "constant" and stage.warmup_share > 0
    return {
        "output_dir": str(work / checkpoints.FOLDER),
        "per_device_train_batch_size": execution.micro_batch,
        "gradient_accumulation_steps": stage.batch_rows // (execution.micro_batch * execution.devices),
        "gradient_checkpointing": execution.gradient_checkpointing,
        "torch_compile": execution.compile,
        "use_liger_kernel": execution.liger,
        "ddp_find_unused_parameters": False,
        "train_sampling_strategy": "sequential",
        "max_steps": plan.steps,
        "max_length": None,
        "learning_rate": stage.learning_rate,
        "lr_scheduler_type": "constant_with_warmup" if with_warmup else stage.schedule,
        "warmup_steps": math.ceil(stage.warmup_share * plan.steps),
        "weight_decay": stage.weight_decay,
        "max_grad_norm": stage.max_grad_norm,
        "optim": "adamw_torch_fused",
        "bf16": stage.precision == "bf16",
        "use_cpu": not torch.cuda.is_available(),
        "dataloader_pin_memory": torch.cuda.is_available(),
        "seed": stage.seed,
        "data_seed": stage.seed,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": stage.checkpoint_steps,
        "report_to": "none",
        "disable_tqdm": True,
        **stage.args,
    }


@dataclass(frozen=True)
class Trained:
    """How a training went: the metrics that every stage records, and the history of all its steps."""

    metrics: dict[str, Any]
    history: list[dict[str, float]]


def train(
    trainer: Any,
    plan: StepPlan,
    job: Job,
    work: Path,
    log: RunLog,
    stop: threading.Event,
    samples: Samples | None = None,
) -> Trained:
    """Train to the last step, from the newest checkpoint that can be trusted. Raises Interrupted after a stop.

    samples: where answers go that the model gives while it is trained, if any.
    """
    folder = work / checkpoints.FOLDER
    folder.mkdir(exist_ok=True)
    meter = Meter(trainer, plan, job)
    made_by = {"fingerprint": job.request.fingerprint, **group.layout(trainer, meter.execution)}
    resumed = group.agreed(lambda: checkpoints.newest_verified(folder, made_by))
    if group.any_of(stop.is_set()):
        raise Interrupted(f"{job.ref}: stopped before training")
    made_on = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "micro_batch": trainer.args.per_device_train_batch_size,
    }
    callback = StepCallback(job.ref, plan, log, stop, folder, made_by, made_on, meter, samples)
    _explain_failed_saves(trainer, folder)
    quantized.adapters_in_float32(trainer.model)
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(callback)
    first_step = checkpoints.step_of(resumed) if resumed else 0
    if resumed:
        say(f"{job.ref}: resumes after step {first_step} of {plan.steps}")
        if changed := checkpoints.changed(resumed, made_on):
            say(f"{job.ref}: equal but for rounding to a run in one go, since it began with {', '.join(changed)}")
    else:
        memory.try_longest(trainer, plan)
    memory.announce_batches(trainer, meter.count)
    if first_step < plan.steps:
        trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
    else:
        _take_up(trainer, resumed)
    if trainer.state.global_step < plan.steps:
        raise Interrupted(f"{job.ref}: stopped after step {trainer.state.global_step} of {plan.steps}")
    history = [told(entry) for entry in trainer.state.log_history if "loss" in entry]
    if group.leads():
        write_json(work / HISTORY, history)
        if samples is not None:
            write_json(work / SAMPLES, samples.read())
    return Trained(_metrics(trainer, plan, history, first_step, meter), history)


def samples_of(stage: StageBase, folder: Path, trainer: Any, work: Path) -> Samples | None:
    """Where the model's answers go while it is trained, if the recipe wants any. folder: of the training rows."""
    if stage.execution.samples_every is None:
        return None
    return Samples(prompts(folder), trainer.processing_class, work / checkpoints.FOLDER)


def _explain_failed_saves(trainer: Any, folder: Path) -> None:
    save = trainer._save_checkpoint

    def explained(*args: Any, **kwargs: Any) -> None:
        with checkpoints.saving(checkpoints.at_step(folder, trainer.state.global_step)):
            save(*args, **kwargs)

    trainer._save_checkpoint = explained


def _take_up(trainer: Any, finished: Path | None) -> None:
    """Weights and state of a training that had finished before its result was sealed."""
    from transformers import TrainerState

    trainer._load_from_checkpoint(str(finished))  # `train` would take one step too many
    trainer.state = TrainerState.load_from_json(f"{finished}/trainer_state.json")


@contextmanager
def memory_explained(stage: StageBase, plan: StepPlan, work: Path) -> Iterator[None]:
    """Turn running out of memory into what to change, and where the training would then go on."""
    try:
        yield
    except Exception as error:
        if not ran_out(error):
            raise
        done = checkpoints.kept_until(work / checkpoints.FOLDER)
        if done == plan.steps:
            raise Resumable(
                "out of memory after the last step, while the trained model was tried and saved; its checkpoints are "
                "kept: run the job again, and it goes on there with neither gradients nor optimizer in memory"
            ) from error
        execution, (same, other) = stage.execution, _mends(stage)
        where = f"with micro-batches of {execution.micro_batch} rows of up to {plan.longest} tokens"
        if isinstance(error, memory.BatchTooLarge):
            when = f"in step {error.step}" if error.step else "in the trial of the longest batch before the first step"
            where = f"{when}, on a batch of {error.rows} rows of up to {error.length} tokens"
        how = f"with {same[0]}" if same else "on a device with more memory"
        kept = f"; its checkpoints are kept: the same recipe {how} goes on after step {done}" if done else ""
        raise TrainingError(f"out of memory {where}; try {', or '.join([*same, *other])}{kept}") from error


def _mends(stage: StageBase) -> tuple[list[str], list[str]]:
    """What takes less memory: settings with which this training goes on, and those that make it another."""
    execution = stage.execution
    same, other = [], []
    if isinstance(stage, Kto):
        other += [f"kl_rows {stage.kl_rows // 2}"] if stage.kl_rows > 3 else []
    elif execution.micro_batch > 1:
        fits = range(execution.micro_batch // 2, 0, -1)
        fewer = next(rows for rows in fits if stage.batch_rows % (rows * execution.devices) == 0)
        same.append(f"execution.micro_batch {fewer}")
    if not execution.gradient_checkpointing:
        same.append("execution.gradient_checkpointing: true")
    other.append("shorter rows (max_length)" if stage.lora else "lora")
    return same, other


def first_batch(trainer: Any) -> dict[str, Any]:
    """The first micro-batch, as the trainer's own loader and collator give it."""
    batch: dict[str, Any] = dict(next(iter(trainer.get_train_dataloader())))
    return batch


def _metrics(trainer: Any, plan: StepPlan, history: list[dict[str, float]], first: int, meter: Meter) -> dict[str, Any]:
    on_gpu = torch.cuda.is_available()
    last = history[-1]
    return {
        "steps": plan.steps,
        "rows": plan.rows,
        "tokens": plan.tokens[-1],
        **{name: last[name] for name in _RATES if name in last},
        "loss_first": history[0]["loss"],
        "loss_last": last["loss"],
        "peak_memory_bytes": torch.cuda.max_memory_allocated() if on_gpu else _resident_peak(),
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "devices": meter.execution.devices,
        "threads": torch.get_num_threads(),
        "resumed_from_step": first,
        "trainable_parameters": sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        **cost(last["device_seconds"], meter.execution),
    }


def _resident_peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
