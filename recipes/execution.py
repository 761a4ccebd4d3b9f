"""How a machine runs a stage or an evaluation; nothing here names a result."""

from pydantic import Field

from recipes.section import Section


class Execution(Section):
    """How a machine runs a stage. Never part of an artefact's identity."""

    devices: int = Field(default=1, ge=1)
    micro_batch: int = Field(default=1, ge=1, description="rows per forward pass and device")
    gradient_checkpointing: bool = False
    threads: int | None = Field(default=None, ge=1, description="CPU threads of torch; its own choice when not given")
    grace_seconds: float = Field(default=6.0, gt=0, description="from a termination's first signal to SIGKILL")
