"""When a checkpoint becomes champion."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator

from recipes.section import Name, Section


class Target(Section):
    """The metric that must get better: lower confidence bound of the paired gain above `min_gain`."""

    metric: str
    min_gain: float = Field(default=0.0, ge=0, lt=1)


class Targets(Section):
    """Several targets: any one of them must get better (tested with Holm's correction), or all of them (without)."""

    require: Literal["any", "all"]
    of: list[Target] = Field(min_length=2)

    @field_validator("of")
    @classmethod
    def _differ(cls, of: list[Target]) -> list[Target]:
        metrics = [target.metric for target in of]
        if repeated := sorted({metric for metric in metrics if metrics.count(metric) > 1}):
            raise ValueError(f"{' and '.join(repeated)}: named more than once")
        return of


def _kind_of_target(section: Any) -> str:
    several = "of" in section or "require" in section if isinstance(section, dict) else isinstance(section, Targets)
    return "Targets" if several else "Target"


GivenTarget = Annotated[
    Annotated[Target, Tag("Target")] | Annotated[Targets, Tag("Targets")], Discriminator(_kind_of_target)
]
"""One target, `{metric, min_gain}`, or several, `{require, of}`."""


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

    registered_model: str = Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}$")
    candidate: Name
    target: GivenTarget
    guards: list[Guard] = []
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    power: float = Field(
        default=0.8, gt=0.5, lt=1, description="that an equally good model must have of passing a guard, as planned"
    )
    allow_overridden: bool = False
    allow_underpowered: bool = Field(
        default=False, description="accept guards that this suite is too small to judge; most end `inconclusive`"
    )

    @property
    def targets(self) -> list[Target]:
        """The one target, or all of several."""
        return self.target.of if isinstance(self.target, Targets) else [self.target]

    @property
    def alternatives(self) -> bool:
        """Whether one of several targets is enough."""
        return isinstance(self.target, Targets) and self.target.require == "any"
