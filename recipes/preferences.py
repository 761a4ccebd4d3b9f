"""Preference pairs: rules over clean corpora."""

from typing import Literal

from pydantic import Field, model_validator

from recipes.section import Name, Section


class PairRule(Section):
    """How one clean corpus becomes preference pairs.

    `recorded`: rows already hold chosen and rejected. `refuse`: the row's own answer is rejected and
    a refusal from `answers` is chosen. `comply`: the row's own answer is chosen and a refusal is
    rejected, which keeps a model that learns to refuse from refusing everything. `ranked`: of answers
    with ranks, ratings or votes the better is chosen; ratings of single answers meet by their prompt.
    """

    source: Name
    rule: Literal["recorded", "refuse", "comply", "ranked"] = "recorded"
    answers: str | None = None
    against: Literal["rest", "next", "worst"] = Field(
        default="rest", description="rule 'ranked': the best against all others, each against the next, best and worst"
    )
    min_gap: float = Field(
        default=0, ge=0, description="rule 'ranked': least difference of scores (worse answers, stars, share of votes)"
    )
    limit: int | None = Field(default=None, ge=1, description="number of pairs, drawn by seed")

    @model_validator(mode="after")
    def _has_answers(self) -> "PairRule":
        if (self.rule in ("recorded", "ranked")) != (self.answers is None):
            raise ValueError("rules 'refuse' and 'comply' need 'answers'; rules 'recorded' and 'ranked' take none")
        if self.rule != "ranked" and (self.against, self.min_gap) != ("rest", 0):
            raise ValueError("against and min_gap are for rule 'ranked'")
        return self


class Preferences(Section):
    """Preference pairs: rules over clean corpora; `max_length` in tokens of prompt and longer answer together."""

    pairs: list[PairRule] = Field(min_length=1)
    max_length: int = Field(ge=16)
    seed: int = Field(ge=0)
