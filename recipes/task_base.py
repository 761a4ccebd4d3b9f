"""What every task of a suite has, whatever its kind."""

from typing import ClassVar, Literal

from pydantic import Field

from recipes.section import Section


class TaskBase(Section):
    """One benchmark of a suite. `limit` draws that many items by `sample_seed`; none means all.

    `asks`: what it needs of the model, answers alone or log-probabilities of given ones, which not every back end has.
    """

    asks: ClassVar[Literal["answers", "likelihoods"]] = "answers"

    limit: int | None = Field(default=None, ge=1)
    sample_seed: int = Field(default=0, ge=0)
