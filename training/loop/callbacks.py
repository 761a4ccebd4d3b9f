"""What happens between the steps of a training: people are told, nonsense is refused, saves are vouched for."""

import math
import threading
from pathlib import Path
from typing import Any

from transformers import TrainerCallback  # noqa: TID253 - only job processes import this module

from jobs import group
from jobs.progress import Progress
from jobs.run_log import RunLog
from lineage.errors import TrainingError
from training.loop import checkpoints, randomness
from training.loop.measures import Meter
from training.loop.samples import Samples
from training.rows import StepPlan

_NOT_TOLD = "num_tokens"  # TRL's count starts again at 0 after a resume
_SHOWN = {"loss": "loss", "reward": "reward", "completions/mean_length": "length", "kl": "kl"}
_ADAM_BYTES = 12  # a trainable weight in float32 and Adam's two moments


class StepCallback(TrainerCallback):  # type: ignore[misc]
    """What the trainer calls at each step; see the module."""

    def __init__(
        self,
        label: str,
        plan: StepPlan,
        log: RunLog,
        stop: threading.Event,
        folder: Path,
        made_by: dict[str, Any],
        made_on: dict[str, Any],
        meter: Meter,
        samples: Samples | None,
    ) -> None:
        self._log, self._stop = log, stop
        self._folder, self._made_by, self._made_on = folder, made_by, made_on
        self._meter, self._samples = meter, samples
        self._progress = Progress(label, plan.steps, "steps")
        self._random: tuple[Any, ...] | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        spent_before = state.log_history[-1].get("device_seconds", 0.0) if state.log_history else 0.0
        self._meter.start(state.global_step, spent_before)
        self._progress.update(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._random = randomness.state()
        if group.any_of(self._stop.is_set()):
            control.should_save = control.should_training_stop = True

    def on_substep_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """A stop need not wait for the step's end: its micro-batches are forgotten, with the dice they threw."""
        if not self._stop.is_set() or group.count() > 1:
            return
        control.should_training_stop = True
        if self._random and not checkpoints.is_complete(checkpoints.at_step(self._folder, state.global_step)):
            randomness.put_back(self._random)
            control.should_save = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], model: Any, **_: Any) -> None:
        if "loss" not in logs:
            return
        step = state.global_step
        if not (math.isfinite(logs["loss"]) and math.isfinite(logs["grad_norm"])):
            raise TrainingError(
                f"step {step}: loss {logs['loss']}, gradient norm {logs['grad_norm']}: the training has diverged; "
                f"lower learning_rate, raise warmup_share, or train in fp32{self._kept()}"
            )
        figures = self._meter.figures(step)
        state.log_history[-1] |= figures  # part of the history, and of the checkpoint that a resumed training reads
        self._log.metrics({**told(logs), **figures}, step)
        shown = {name: logs[key] for key, name in _SHOWN.items() if key in logs}
        self._progress.update(step, **shown, tokens_per_s=figures["tokens_per_s"])
        every = self._meter.execution.samples_every
        if self._samples is not None and every and group.leads() and (step % every == 0 or step == args.max_steps):
            self._samples.take(model, step)

    def _kept(self) -> str:
        kept = checkpoints.kept_until(self._folder)
        return (
            f", each a new training; this one's checkpoints, up to step {kept}, stay in {self._folder}" if kept else ""
        )

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        group.wait()  # each writes its own random state
        if group.leads():
            saved = checkpoints.at_step(self._folder, state.global_step)
            with checkpoints.saving(saved):
                checkpoints.complete(saved, self._made_by, self._made_on)
            checkpoints.retain(saved, self._made_by)
        group.wait()

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any, **_: Any) -> None:
        """Room for the checkpoint that may follow, while nothing of it is written."""
        step = state.global_step + 1
        if step % args.save_steps == 0 or step >= state.max_steps or self._stop.is_set():
            trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
            needed = max(trainable * _ADAM_BYTES, checkpoints.size_of_newest(self._folder))
            checkpoints.need_space(self._folder, needed)


def told(logs: dict[str, float]) -> dict[str, float]:
    """The numbers of a log entry that mean what they say."""
    return {name: float(value) for name, value in logs.items() if name != _NOT_TOLD and value is not None}
