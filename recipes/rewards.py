"""Rewards of reinforcement learning, each by its name: a recipe brings weights and limits, never code."""

from typing import Annotated, Literal

from pydantic import Field

from recipes.section import Name, Pattern, Section


class RewardBase(Section):
    """Rewards of an answer add up, each times its weight; one that does not apply to a prompt is left out."""

    weight: float = Field(default=1.0, gt=0)


class VerifierReward(RewardBase):
    """What the problem's own reasoning-gym verifier gives, from 0 to 1; without `partial` only 1 counts."""

    kind: Literal["verifier"]
    partial: bool = True


class InstructionsReward(RewardBase):
    """The share of the row's instructions that the answer follows, by lm-eval's checkers of IFEval (strict)."""

    kind: Literal["instructions"]


class ModelReward(RewardBase):
    """What the checkpoint of a stage of kind `reward` gives to prompt and answer."""

    kind: Literal["reward_model"]
    checkpoint: Name


class LengthReward(RewardBase):
    """0 up to `free_tokens`, then falling to −1 at the stage's `max_new_tokens` (Yu et al. 2025, soft punishment)."""

    kind: Literal["length"]
    free_tokens: int = Field(ge=0)


class FormatReward(RewardBase):
    """1 if the whole answer, without white space round it, matches the regular expression `pattern`, else 0."""

    kind: Literal["format"]
    pattern: Pattern


RewardTerm = Annotated[
    VerifierReward | InstructionsReward | ModelReward | LengthReward | FormatReward, Field(discriminator="kind")
]
