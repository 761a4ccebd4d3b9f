"""When a checkpoint becomes champion."""

from pydantic import Field

from recipes.section import Name, Section


class Target(Section):
    """The metric that must get better: lower confidence bound of the paired gain above `min_gain`."""

    metric: str
    min_gain: float = Field(default=0.0, ge=0, lt=1)


class Guard(Section):
    """A metric that must not get worse by `margin` or more; `floor` bounds it (a ceiling if lower is better)."""

    metric: str
    margin: float = Field(gt=0, lt=1)
    floor: float | None = Field(default=None, ge=0, le=1)
    discordance: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="share of outcomes that change between equally good models, if known; only planning uses it",
    )


class Promotion(Section):
    """When a checkpoint becomes `champion` of the registered model. `alpha` is one-sided."""

    registered_model: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,100}$")
    candidate: Name
    target: Target
    guards: list[Guard] = []
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    power: float = Field(default=0.8, gt=0.5, lt=1)
    allow_overridden: bool = False
    allow_underpowered: bool = Field(
        default=False, description="accept guards that this suite is too small to judge; they end `inconclusive`"
    )
