"""How a machine, a cluster or a server runs a step; nothing here names a result or changes a byte of one.

Nothing is a secret either: a key is named by the environment variable that holds it.
"""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, field_validator, model_validator

from recipes.section import Section

Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
"""The name of an environment variable."""


class Server(Section):
    """A server, up to and with its `/v1`."""

    url: str | None = Field(default=None, description="as in http://gpu-box:8000/v1")
    api_key_env: Variable | None = Field(default=None, description="name of the environment variable with the key")
    timeout_s: float = Field(default=600, gt=0, description="for one answer")
    attempts: int = Field(default=8, ge=1, description="for one answer, with growing pauses, when the server is busy")

    @field_validator("url")
    @classmethod
    def _is_plain(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("a server's url is http://<host>[:<port>]/v1 or https://…")
        if parts.username or parts.password or parts.query:
            raise ValueError("a server's url holds no user, password or query; name the key's variable in api_key_env")
        return url.rstrip("/")


class CheckpointServer(Server):
    """A server that serves the checkpoint to evaluate.

    `model` is the name under which it does; `{checkpoint}` in it stands for the checkpoint's digest, `{name}` for its
    name in the recipe. One of them must be there, because base and stages are not one model.
    """

    url: str | None = Field(
        default=None, description="as in http://gpu-box:8000/v1; TEMPER_SERVER_URL of the environment when not given"
    )
    model: str = "{checkpoint}"
    start_s: float = Field(default=900, gt=0, description="until a launched server must be ready")

    @field_validator("model")
    @classmethod
    def _tells_checkpoints_apart(cls, model: str) -> str:
        if "{checkpoint}" not in model and "{name}" not in model:
            raise ValueError(
                "holds neither {checkpoint} nor {name}: every checkpoint would be scored by the answers of one model"
            )
        if "{" in model.replace("{checkpoint}", "").replace("{name}", ""):
            raise ValueError("knows the places {checkpoint} and {name} alone")
        return model


class CorporaExecution(Section):
    """Where the blocks of a corpus step run: processes of this machine, or a datatrove executor.

    The steps exchange files in the store, so the machines of a cluster must share its folder.
    """

    runner: Literal["local", "datatrove"] = "local"
    workers: int | None = Field(
        default=None, ge=1, description="blocks worked on at a time, each with its own memory; not given: one a CPU"
    )
    executor: Literal["local", "slurm", "ray"] | None = Field(
        default=None, description="with runner 'datatrove': this machine (the default), or the cluster to send tasks to"
    )
    memory_gb: int = Field(default=4, ge=1, description="memory that a cluster sets aside for one task")
    partition: str | None = Field(default=None, description="Slurm's partition")
    time_limit: str | None = Field(
        default=None, description="of one Slurm task, as in '4:00:00'", pattern=r"^(\d+-)?\d+(:\d\d){0,2}$"
    )
    qos: str | None = Field(default=None, description="Slurm's quality of service")
    setup: str | None = Field(default=None, description="shell command that a Slurm task runs first, as 'source …'")

    @model_validator(mode="after")
    def _executor_has_what_it_needs(self) -> "CorporaExecution":
        if self.runner == "local" and self.executor is not None:
            raise ValueError("executor is for runner 'datatrove'")
        of_slurm = {name: getattr(self, name) for name in ("partition", "time_limit", "qos", "setup")}
        if self.executor != "slurm" and (given := sorted(n for n, value in of_slurm.items() if value is not None)):
            raise ValueError(f"only executor 'slurm' takes {', '.join(given)}")
        if self.executor == "slurm" and None in (self.partition, self.time_limit):
            raise ValueError("executor 'slurm' needs partition and time_limit")
        return self


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
