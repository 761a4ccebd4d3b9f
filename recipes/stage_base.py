"""What every training stage has, whatever its kind: where it starts, how it steps, what it needs."""

from typing import Any, ClassVar, Literal, get_args

from pydantic import Field, field_validator, model_validator

from recipes.execution import TrainingExecution
from recipes.section import Name, Section
from recipes.trl_settings import checked

Quantization = Literal["nf4", "int8"]


def _not_given(value: object) -> bool:
    """What a recipe leaves out stays out of its identity: a field that is added makes no older artefact stale."""
    return not value


class Lora(Section):
    """Low-rank adapters (Hu et al. 2021) on `targets`; the artefact keeps the adapter and the merged weights.

    With `quantization` (QLoRA, Dettmers et al. 2023) the frozen weights are held in 4 or 8 bits while it trains.
    """

    rank: int = Field(ge=1)
    alpha: float = Field(gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: str | list[str] = "all-linear"
    quantization: Quantization | None = Field(default=None, exclude_if=_not_given)
    args: dict[str, Any] = Field(default={}, exclude_if=_not_given, description="further settings of PEFT's LoraConfig")

    @field_validator("args")
    @classmethod
    def _args_are_passed_on(cls, args: dict[str, Any]) -> dict[str, Any]:
        return checked("lora", args)


Makes = Literal["language model", "reward model"]


class StageBase(Section):
    """What every training stage has. A step is `batch_rows` rows; `learning_rate` is the peak.

    `trains_on`: the kind of mixture that it takes, if it takes one; `prefers`: what its preferences hold.
    """

    trains_on: ClassVar[Literal["conversations", "documents"]] = "conversations"
    prefers: ClassVar[Literal["pairs", "unpaired"]] = "pairs"
    makes: ClassVar[Makes] = "language model"

    start: Name = Field(description="the node whose checkpoint this stage trains: base, or a stage")
    learning_rate: float = Field(gt=0, lt=1)
    batch_rows: int = Field(ge=1)
    epochs: float = Field(default=1.0, gt=0)
    max_steps: int | None = Field(default=None, ge=1, description="ends the stage early, before `epochs`")
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    warmup_share: float = Field(default=0.0, ge=0, lt=1, description="share of the steps that warm up")
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    precision: Literal["fp32", "bf16"] = "bf16"
    lora: Lora | None = None
    seed: int = Field(ge=0)
    checkpoint_steps: int = Field(default=50, ge=1, description="steps between resumable checkpoints")
    args: dict[str, Any] = Field(default={}, exclude_if=_not_given, description="further settings of TRL's config")
    execution: TrainingExecution = TrainingExecution()

    @field_validator("args")
    @classmethod
    def _args_are_passed_on(cls, args: dict[str, Any]) -> dict[str, Any]:
        (kind,) = get_args(cls.model_fields["kind"].annotation)
        return checked(kind, args)

    def inputs(self) -> dict[str, tuple[str, ...]]:
        """The nodes that this stage reads, by the field that names them."""
        return {"start": (self.start,)}

    @model_validator(mode="after")
    def _batch_divides(self) -> "StageBase":
        per_pass = self.execution.micro_batch * self.execution.devices
        if self.batch_rows % per_pass:
            raise ValueError(f"batch_rows {self.batch_rows} is not a multiple of micro_batch × devices = {per_pass}")
        return self
