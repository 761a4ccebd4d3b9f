"""Preferences: pairs of answers, or answers that are good or bad, by rules over clean corpora."""

from typing import ClassVar, Literal

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


class UnpairedRule(Section):
    """A clean corpus whose answers are labelled good or bad; of recorded pairs the chosen is good, the rejected bad."""

    source: Name
    rule: ClassVar[Literal["unpaired"]] = "unpaired"
    answers: ClassVar[None] = None
    limit: int | None = Field(default=None, ge=1, description="number of answers, drawn by seed")


class Preferences(Section):
    """Either `pairs` or `unpaired` answers; `max_length` in tokens of prompt and longer answer together.

    Rows that the recipe's `splits` keep from training are written apart.
    """

    pairs: list[PairRule] = []
    unpaired: list[UnpairedRule] = []
    max_length: int = Field(ge=16)
    seed: int = Field(ge=0)

    @property
    def holds(self) -> Literal["pairs", "unpaired"]:
        return "pairs" if self.pairs else "unpaired"

    @property
    def rules(self) -> list[PairRule | UnpairedRule]:
        return [*self.pairs, *self.unpaired]

    @model_validator(mode="after")
    def _holds_one_kind(self) -> "Preferences":
        if bool(self.pairs) == bool(self.unpaired):
            raise ValueError("preferences need either pairs or unpaired, a list of rules; for both make two entries")
        return self
