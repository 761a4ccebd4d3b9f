"""Training stages by kind: their data and their own hyper-parameters."""

from typing import Annotated, Literal

from pydantic import Field

from recipes.grpo import Grpo
from recipes.section import Name
from recipes.stage_base import StageBase


class Sft(StageBase):
    """Supervised fine-tuning on a mixture, loss on assistant turns only."""

    kind: Literal["sft"]
    mixture: Name

    def inputs(self) -> dict[str, tuple[str, ...]]:
        return {**super().inputs(), "mixture": ("mixture", self.mixture)}


class Dpo(StageBase):
    """Direct preference optimisation (Rafailov et al. 2023); the reference model is the `start` checkpoint."""

    kind: Literal["dpo"]
    preferences: Name
    beta: float = Field(gt=0)
    loss: Literal["sigmoid"] = "sigmoid"

    def inputs(self) -> dict[str, tuple[str, ...]]:
        return {**super().inputs(), "preferences": ("preferences", self.preferences)}


Stage = Annotated[Sft | Dpo | Grpo, Field(discriminator="kind")]
