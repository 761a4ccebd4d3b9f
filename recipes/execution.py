"""How a machine runs a stage or an evaluation; nothing here names a result."""

from typing import Literal

from pydantic import Field, model_validator

from recipes.section import Section
from recipes.servers import CheckpointServer


class Execution(Section):
    """How a machine runs a stage or an evaluation. Never part of an artefact's identity."""

    devices: int = Field(default=1, ge=1)
    micro_batch: int = Field(default=1, ge=1, description="rows per forward pass and device")
    gradient_checkpointing: bool = False
    threads: int | None = Field(default=None, ge=1, description="CPU threads of torch; its own choice when not given")
    grace_seconds: float = Field(default=6.0, gt=0, description="from a termination's first signal to SIGKILL")


class EvaluationExecution(Execution):
    """How a machine evaluates; `server` is what back ends other than transformers need to know."""

    server: CheckpointServer = CheckpointServer()


class Sharing(Section):
    """How the processes of several devices share a training; `accelerate launch` starts them."""

    strategy: Literal["ddp", "fsdp2", "deepspeed"] = "ddp"
    zero: Literal["zero1", "zero2", "zero3", "zero3_offload"] = Field(
        default="zero2", description="of strategy deepspeed: what is spread over the devices, or lies in main memory"
    )


class TrainingExecution(Execution):
    """How a machine trains. Whatever is chosen here, results differ by rounding at most."""

    launcher: Sharing = Sharing()
    attention: Literal["eager", "sdpa", "flash_attention_2", "flash_attention_3"] | None = Field(
        default=None, description="implementation of attention; the model's own choice when not given"
    )
    packing: bool = Field(default=False, description="rows of a micro-batch end to end, not padded (sft)")
    compile: bool = Field(default=False, description="torch.compile")
    liger: bool = Field(default=False, description="Liger's kernels for norms, positions and gated layers")
    samples_every: int | None = Field(default=None, ge=1, description="steps between answers to validation prompts")
    price_per_device_hour: float | None = Field(default=None, ge=0)
    currency: str = Field(default="USD", min_length=1, max_length=8)

    @model_validator(mode="after")
    def _samples_need_a_whole_model(self) -> "TrainingExecution":
        if self.samples_every is not None and self.devices > 1 and self.launcher.strategy != "ddp":
            raise ValueError(f"samples_every: under strategy {self.launcher.strategy} no process has the whole model")
        return self
