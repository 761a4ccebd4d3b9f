"""What a training costs: tokens and slots a second, share of the device's peak, device-seconds, money.

Tokens are those of the rows, prompts included; slots are what batches hold, pads included. The share of the peak
(MFU) is TRL's: operations that the model's sizes ask for (forward, and twice that backward) over those that the
device can do at most, so pads and recomputation lower it. Frozen weights need no gradient of their own, a third of
the operations. Devices that TRL does not know, CPUs among them, have no figure.
"""

import time
from typing import Any

import torch  # noqa: TID253 - only job processes import this module

from jobs.job import Job
from recipes.execution import TrainingExecution
from training.rows import StepPlan

_HOUR_S = 3600
_DTYPES = {"bf16": "bfloat16", "fp32": "float32"}


class Meter:
    """Measures one attempt of a training, from its first step on."""

    def __init__(self, trainer: Any, plan: StepPlan, job: Job) -> None:
        self.execution = TrainingExecution.model_validate(job.config["execution"])
        self._plan = plan
        self._peak = _peak_operations(job.config["precision"])
        self._operations = _operations_per_token(trainer, plan, job) if self._peak else 0.0
        self.start(0, 0.0)

    def start(self, step: int, spent_before: float) -> None:
        """spent_before: device-seconds of the steps that this attempt goes on from."""
        self._first_step, self._spent_before, self._slots = step, spent_before, 0
        self._began = time.monotonic()

    def count(self, inputs: Any) -> None:
        """A batch that this process is about to compute."""
        ids = inputs.get("input_ids") if isinstance(inputs, dict) else None
        self._slots += ids.numel() if ids is not None else 0

    def figures(self, step: int) -> dict[str, float]:
        """Rates since this attempt's first step, and what was spent since the training's."""
        seconds = time.monotonic() - self._began
        rate = (self._plan.tokens[step] - self._plan.tokens[self._first_step]) / seconds
        devices = self.execution.devices
        found = {"tokens_per_s": rate, "device_seconds": self._spent_before + seconds * devices}
        if self._slots:
            found["padded_tokens_per_s"] = self._slots * devices / seconds
        if self._peak:
            found["mfu_percent"] = 100 * self._operations * rate / (self._peak * devices)
        return found


def cost(device_seconds: float, execution: TrainingExecution) -> dict[str, Any]:
    """What the device-seconds cost at the recipe's price, if it has one."""
    if execution.price_per_device_hour is None:
        return {}
    return {"cost": device_seconds / _HOUR_S * execution.price_per_device_hour, "currency": execution.currency}


def _operations_per_token(trainer: Any, plan: StepPlan, job: Job) -> float:
    """Of forward and backward; attention reaches over the mean length of the conversation that a token is in."""
    from trl.trainer.utils import compute_flops_per_token

    conversations = 2 if "preferences" in job.inputs else 1
    reach = sum(length * length for length in plan.lengths) / sum(plan.lengths) / conversations
    of_all = float(compute_flops_per_token(trainer.model.config.get_text_config(), round(reach)))
    return of_all * (2 / 3 if job.config.get("lora") else 1)


def _peak_operations(precision: str) -> float | None:
    from trl.trainer.utils import get_peak_flops

    if not torch.cuda.is_available():
        return None
    peak: float | None = get_peak_flops(torch.cuda.get_device_name(), _DTYPES[precision])
    return peak
