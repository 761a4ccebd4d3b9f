"""Answers that we wrote ourselves, by kind of prompt: for prompts that come without one, and for preference pairs.

A YAML file has `kinds`, each with a regular expression `match` that is searched in a row's category and a list of
`answers`, and a list `default` for rows that no kind matches. Kinds are tried in the order of the file.
"""

import re
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from lineage.errors import CorpusError
from lineage.hashing import text_digest
from recipes.load import read_yaml

_Texts = Annotated[list[Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]], Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Kind(_Strict):
    """Answers for the categories in which `match` is found."""

    match: str
    answers: _Texts

    @field_validator("match")
    @classmethod
    def _is_a_pattern(cls, match: str) -> str:
        try:
            re.compile(match)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return match


class Answers(_Strict):
    """All answers of one file."""

    kinds: dict[str, Kind] = {}
    default: _Texts

    def choose(self, prompt: str, category: str | None) -> str:
        """The answer to a prompt: always the same for the same prompt and category."""
        fitting = (kind.answers for kind in self.kinds.values() if category and re.search(kind.match, category))
        texts = next(fitting, self.default)
        return texts[int(text_digest(prompt)[:16], 16) % len(texts)]


def load_answers(path: Path) -> Answers:
    """Read a file of answers. Raises CorpusError that names the file and the field, RecipeError for bad YAML."""
    try:
        return Answers.model_validate(read_yaml(path))
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, p['loc']))}: {p['msg'].removeprefix('Value error, ')}" for p in error.errors()]
        raise CorpusError("\n".join(f"{path}: {problem}" for problem in problems)) from None
