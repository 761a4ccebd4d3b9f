"""Raw text and base models: where they come from, what form they have, under which licence."""

from typing import Literal

from pydantic import Field, model_validator

from recipes.cleaning import Difficulty, RowStep, Step
from recipes.origins import Columns, Origin
from recipes.section import Name

Format = Literal[
    "auto",
    "alpaca",
    "sharegpt",
    "chatml",
    "prompt_completion",
    "text",
    "preference",
    "unpaired",
    "ranked",
    "rated",
    "votes",
    "threads",
    "glaive",
    "hermes",
    "prompts",
]


class Source(Origin):
    """Raw text: where it comes from, which group of the mixture it feeds, under which licence."""

    group: Name
    licence: str = Field(min_length=1)
    format: Format = "auto"
    columns: Columns = Columns()
    separator: str | None = Field(
        default=None, description="splits one text field into prompt and completion at its first occurrence"
    )
    answers: str | None = Field(
        default=None,
        description="YAML file (relative to the recipe) of answers by category; gives `prompts` rows their answer",
    )
    limit: int | None = Field(default=None, ge=1, description="keep the first N rows read")
    steps: list[Step] = Field(default=[], description="filters, in this order, before exact duplicates go")
    max_quarantined: float = Field(
        default=0.05, ge=0, le=1, description="share of bad rows above which the asset blocks"
    )
    sensitive: bool = Field(default=False, description="harmful text: never shown in logs, reports or UI metadata")

    @property
    def row_steps(self) -> list[RowStep]:
        """The steps that judge each row by itself."""
        return [step for step in self.steps if not isinstance(step, Difficulty)]

    @property
    def difficulty(self) -> Difficulty | None:
        """The step that holds rows against each other, if there is one."""
        return next((step for step in self.steps if isinstance(step, Difficulty)), None)

    @model_validator(mode="after")
    def _difficulty_comes_last(self) -> "Source":
        if any(isinstance(step, Difficulty) for step in self.steps[:-1]):
            raise ValueError("steps: difficulty is the last step, and there is one: it scores what the others leave")
        return self

    @model_validator(mode="after")
    def _format_has_what_it_needs(self) -> "Source":
        if self.separator is not None and self.columns.text is None:
            raise ValueError("separator needs columns.text, the field that it splits")
        if self.format == "prompt_completion" and self.columns.text is not None and self.separator is None:
            raise ValueError("columns.text of format 'prompt_completion' needs 'separator', which splits it")
        if self.columns.label is not None and (self.format not in ("auto", "unpaired") or self.separator is not None):
            raise ValueError(
                "columns.label says whether an answer is good, which format 'unpaired' reads and no other; a class is "
                "named by columns.category"
            )
        return self


class Model(Origin):
    """The base model. Its weights become the `base` artefact: safetensors in `dtype`, tokenizer, template."""

    licence: str = Field(min_length=1)
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    chat_template: str | None = Field(default=None, description="jinja file that replaces the model's own template")

    @model_validator(mode="after")
    def _is_a_model(self) -> "Model":
        if self.scheme == "gym":
            raise ValueError("a model cannot come from gym://")
        return self
