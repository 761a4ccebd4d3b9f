"""A job: one resolved stage as JSON, the only thing a training or evaluation process reads.

The parent writes it, `python -m training job.json` (or `python -m evaluation job.json`) does it, with
or without Dagster. The result is the sealed artefact; nothing else is handed back.
"""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from lineage.files import write_json
from lineage.store import Artifact, Request, Store


class JobInput(BaseModel):
    """An upstream artefact: where it lies and what its bytes must hash to."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    path: Path
    digest: str

    @classmethod
    def of(cls, artifact: Artifact) -> "JobInput":
        return cls(path=artifact.path, digest=artifact.digest)


class Tracking(BaseModel):
    """The MLflow run that a job logs into; created before the process starts."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    uri: str
    run_id: str


class Job(BaseModel):
    """What to do (`kind`, `config`), from what (`inputs`), into which artefact (`payload`), how (`execution`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: str
    recipe: str
    node: str
    ref: str
    home: Path
    payload: dict[str, Any]
    overridden: bool = False
    config: dict[str, Any]
    execution: dict[str, Any]
    inputs: dict[str, JobInput]
    tracking: Tracking | None = None
    again: bool = False
    """Make it even if it is there, and leave it to whoever asked to put it in that one's place (`Store.settle`)."""

    @property
    def request(self) -> Request:
        return Request(self.recipe, self.node, self.payload, self.overridden)

    @property
    def store(self) -> Store:
        return Store(self.home)

    def found(self) -> Artifact | None:
        """What was sealed before, its ref moved to it; None if there is nothing, or it is to be made again."""
        artifact = None if self.again else self.store.find(self.request)
        if artifact is not None:
            self.store.point(self.ref, artifact)
        return artifact

    def seal(
        self, metrics: dict[str, Any], *, informative: tuple[str, ...] = (), drop: tuple[str, ...] = ()
    ) -> Artifact:
        """Seal the work folder and move the ref to it, which a job that makes something again leaves alone."""
        artifact = self.store.seal(
            self.request,
            config={**self.config, "execution": self.execution},
            metrics=metrics,
            inputs={name: given.digest for name, given in self.inputs.items()},
            informative=informative,
            drop=drop,
            again=self.again,
        )
        if not self.again:
            self.store.point(self.ref, artifact)
        return artifact

    def write(self) -> Path:
        """Write `<fingerprint>.job.json` beside the work folder and return its path."""
        path = self.store.object_path(self.request).with_suffix(".job.json")
        write_json(path, self.model_dump(mode="json"))
        return path

    @classmethod
    def read(cls, path: Path) -> "Job":
        return cls.model_validate_json(path.read_text(encoding="utf-8"))
