"""Training stages by kind: their data and their own hyper-parameters."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from recipes.grpo import Grpo
from recipes.losses import NEEDS_SMOOTHING, SMOOTHED, DpoLoss, KtoLoss
from recipes.section import Name
from recipes.stage_base import Makes, StageBase


def _is_none(value: object) -> bool:
    return value is None


class Pretrain(StageBase):
    """Pretraining on a mixture of documents: the loss counts every token but the first of each document.

    On a released model this is continued pretraining. Documents in one sequence do not see each other.
    """

    kind: Literal["pretrain"]
    trains_on: ClassVar[Literal["conversations", "documents"]] = "documents"
    mixture: Name

    def inputs(self) -> dict[str, tuple[str, ...]]:
        return {**super().inputs(), "mixture": ("mixture", self.mixture)}


class Sft(StageBase):
    """Supervised fine-tuning on a mixture, loss on assistant turns only."""

    kind: Literal["sft"]
    mixture: Name

    def inputs(self) -> dict[str, tuple[str, ...]]:
        return {**super().inputs(), "mixture": ("mixture", self.mixture)}


class OnPreferences(StageBase):
    """A stage that learns from preferences."""

    preferences: Name

    def inputs(self) -> dict[str, tuple[str, ...]]:
        return {**super().inputs(), "preferences": ("preferences", self.preferences)}


class Reward(OnPreferences):
    """A reward model (Bradley and Terry 1952; Stiennon et al. 2020) from pairs: one number for a whole conversation."""

    kind: Literal["reward"]
    makes: ClassVar[Makes] = "reward model"
    center: float | None = Field(
        default=None, gt=0, description="pulls rewards to a mean of zero (Eisenstein et al. 2023); 0.01 is usual"
    )


class Dpo(OnPreferences):
    """Direct preference optimisation (Rafailov et al. 2023); the reference model is the `start` checkpoint."""

    kind: Literal["dpo"]
    beta: float = Field(gt=0)
    loss: DpoLoss = "sigmoid"
    label_smoothing: float | None = Field(
        default=None, ge=0, lt=0.5, exclude_if=_is_none, description=f"of losses {', '.join(SMOOTHED)}"
    )
    discopop_tau: float | None = Field(default=None, gt=0, exclude_if=_is_none, description="of loss discopop")

    @model_validator(mode="after")
    def _fields_fit_the_loss(self) -> "Dpo":
        if self.label_smoothing is not None and self.loss not in SMOOTHED:
            raise ValueError(f"label_smoothing means nothing to loss {self.loss}; it is of {', '.join(SMOOTHED)}")
        if self.loss in NEEDS_SMOOTHING and not self.label_smoothing:
            raise ValueError(f"loss {self.loss} needs label_smoothing above 0, as 0.001")
        if self.discopop_tau is not None and self.loss != "discopop":
            raise ValueError(f"discopop_tau means nothing to loss {self.loss}; it is of discopop")
        return self


class Kto(OnPreferences):
    """Kahneman-Tversky optimisation (Ethayarajh et al. 2024) on answers that are each good or bad, in no pairs.

    `kl_rows` rows together estimate how far the policy has moved, and their mean is part of the loss: so they are
    one forward pass, which several devices may share, and not a matter of `execution`.
    """

    kind: Literal["kto"]
    prefers: ClassVar[Literal["pairs", "unpaired"]] = "unpaired"
    beta: float = Field(gt=0)
    loss: KtoLoss = "kto"
    kl_rows: int = Field(default=4, ge=2)
    desirable_weight: float = Field(default=1.0, gt=0)
    undesirable_weight: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _forward_passes_are_of_kl_rows(self) -> "Kto":
        if self.execution.micro_batch not in (1, self.kl_rows):
            raise ValueError(f"execution.micro_batch is kl_rows = {self.kl_rows} in kto: leave it out")
        if self.batch_rows % self.kl_rows:
            raise ValueError(f"batch_rows {self.batch_rows} is not a multiple of kl_rows {self.kl_rows}")
        if self.kl_rows % self.execution.devices:
            raise ValueError(f"kl_rows {self.kl_rows} is not a multiple of execution.devices {self.execution.devices}")
        return self


class Orpo(OnPreferences):
    """Odds ratio preference optimisation (Hong et al. 2024): learns the chosen answers and the pairs at once.

    There is no reference model; `beta` is the paper's λ, the weight of the odds ratio.
    """

    kind: Literal["orpo"]
    beta: float = Field(gt=0)


def _no_ppo(stage: Any) -> Any:
    if isinstance(stage, dict) and stage.get("kind") == "ppo":
        raise ValueError(
            "kind ppo: TRL has no PPO trainer any more; learn from rewards with kind grpo, which needs no value model, "
            "or from pairs with kind dpo"
        )
    return stage


Stage = Annotated[
    Annotated[Pretrain | Sft | Reward | Dpo | Kto | Orpo | Grpo, Field(discriminator="kind")], BeforeValidator(_no_ppo)
]
