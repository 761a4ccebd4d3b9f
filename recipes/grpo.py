"""Group relative policy optimisation: a stage that learns from rewards of its own answers."""

from typing import Literal

from pydantic import Field, model_validator

from recipes.rewards import LengthReward, ModelReward, Reward
from recipes.section import Name
from recipes.stage_base import StageBase


class Grpo(StageBase):
    """GRPO (Shao et al. 2024); the reference model is the `start` checkpoint.

    A step is `batch_rows` answers: `generations` to each of its prompts, drawn from the model as it is at that step.
    So every answer is learned from once, and by the policy that gave it.
    """

    kind: Literal["grpo"]
    prompts: Name
    rewards: list[Reward] = Field(min_length=1)
    generations: int = Field(default=8, ge=2, description="answers to a prompt, whose mean reward is the baseline")
    max_new_tokens: int = Field(ge=1, description="a longer answer is cut there, and counted")
    temperature: float = Field(default=1.0, gt=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    beta: float = Field(
        default=0.04, ge=0, description="weight of the KL divergence from the reference; 0: without one"
    )
    loss: Literal["dapo", "grpo", "dr_grpo"] = Field(
        default="dapo", description="mean over all tokens, over each answer first, or over a constant length"
    )
    scale_rewards: Literal["group", "batch", "none"] = Field(
        default="group", description="whose standard deviation the advantages are divided by"
    )
    learn_from_cut: bool = Field(default=True, description="false: answers that were cut do not count in the loss")

    def inputs(self) -> dict[str, tuple[str, ...]]:
        inputs = {**super().inputs(), "prompts": ("prompts", self.prompts)}
        model = next((reward for reward in self.rewards if isinstance(reward, ModelReward)), None)
        return inputs if model is None else {**inputs, "rewards": (model.checkpoint,)}

    @model_validator(mode="after")
    def _batch_is_whole_groups(self) -> "Grpo":
        if self.batch_rows % self.generations:
            raise ValueError(f"batch_rows {self.batch_rows} is not a multiple of generations {self.generations}")
        return self

    @model_validator(mode="after")
    def _rewards_fit(self) -> "Grpo":
        kinds = [reward.kind for reward in self.rewards]
        if twice := sorted({kind for kind in kinds if kinds.count(kind) > 1}):
            raise ValueError(f"rewards: {twice[0]} is there twice; give it one weight")
        for reward in self.rewards:
            if isinstance(reward, LengthReward) and reward.free_tokens >= self.max_new_tokens:
                raise ValueError(
                    f"rewards.length.free_tokens {reward.free_tokens} leaves nothing below max_new_tokens "
                    f"{self.max_new_tokens} to count against an answer"
                )
        return self
