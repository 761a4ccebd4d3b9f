"""How a machine, or a cluster, runs the steps that turn raw text into clean, distinct corpora.

None of it changes a byte of what comes out, so none of it is part of an artefact's identity.
"""

from typing import Literal

from pydantic import Field, model_validator

from recipes.section import Section


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
