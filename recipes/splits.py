"""Which part of every source is kept from training, decided by content.

A row's side is a pure function of `salt` and the row's first question (of a document: its text), so it is the same
in every mixture and in all preferences of the recipe, whatever other rows there are. How that is computed is said in
`corpora`.
"""

from pydantic import Field, model_validator

from recipes.section import Section


class Splits(Section):
    """Shares of the rows: both are written beside the training rows of mixtures and preferences, never among them.

    A larger share takes rows from training and moves none between the other two.
    """

    validation: float = Field(default=0.0, ge=0, lt=1)
    held_out: float = Field(default=0.0, ge=0, lt=1)
    salt: str = Field(default="", description="another one draws other rows")

    @model_validator(mode="after")
    def _something_is_trained_on(self) -> "Splits":
        if self.validation + self.held_out >= 1:
            raise ValueError(
                f"validation and held_out are {self.validation + self.held_out:g} of all rows: none is left"
            )
        return self
