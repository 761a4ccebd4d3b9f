"""Names and values as MLflow takes them, for everything here that logs or registers.

MLflow refuses a name that has other characters than those below, that is too long, or that a file system would take
for another one; and one refused name costs the whole call. Such a name becomes the nearest that is valid, followed by
eight digits of its own sha256: so two names stay two, and a name is the same in every run, whatever is logged beside
it. A value that is too long is cut and ends with an ellipsis.

Limits are characters, those of `mlflow.utils.validation` in MLflow 3.17.2.
"""

import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any

from lineage.hashing import text_digest

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

NAME_CHARACTERS = 250
"""Of the name of a metric, a param or a tag."""
PARAM_CHARACTERS = 6000
TAG_CHARACTERS = 8000
VERSION_TAG_CHARACTERS = 100_000
"""Of the value of a tag of a registered model's version."""
DATASET_CHARACTERS = 500
"""Of a dataset's name and of the values of its tags."""
DIGEST_CHARACTERS = 36
"""Of a dataset's digest."""
METRICS_AT_ONCE = 1000
PARAMS_AT_ONCE = 100
"""Params, or tags, in one request."""

_NOT_IN_NAMES = re.compile(r"[^\w\-. /:]")
_NOT_IN_MODELS = str.maketrans("/:.%\"'", "------")  # of mlflow.utils.validation._validate_logged_model_name
_MARK = 8


def valid_name(name: str) -> str:
    """The name of a metric, a param or a tag: itself if MLflow takes it."""
    text = _NOT_IN_NAMES.sub("_", name)
    if text == name and len(name) <= NAME_CHARACTERS and _is_its_own_path(name):
        return name
    inner = "/".join(part for part in text.split("/") if part not in ("", ".", "..")).lstrip("./")
    return _marked(inner or "_", name)


def numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """The numbers among values, nested ones by dotted name; also those that are not finite, which a run keeps."""
    return {name: float(value) for name, value in _flat(values) if isinstance(value, Real)}


def params(values: Mapping[str, Any]) -> dict[str, str]:
    """Settings, nested ones by dotted name; lists as JSON, so that whoever logs them logs the same text."""
    return {name: _cut(_written(value), PARAM_CHARACTERS) for name, value in _flat(values)}


def tags(values: Mapping[str, Any], characters: int = TAG_CHARACTERS) -> dict[str, str]:
    """Facts, nested ones by dotted name, their text in at most so many characters."""
    return {name: _cut(str(value), characters) for name, value in _flat(values)}


def version_tags(values: Mapping[str, Any]) -> dict[str, str]:
    """What a version of a registered model says about itself, which may be longer than a run's tags."""
    return tags(values, VERSION_TAG_CHARACTERS)


def model_name(text: str) -> str:
    """The name of a LoggedModel; several may have the same."""
    return _cut(text.translate(_NOT_IN_MODELS), DATASET_CHARACTERS) or "-"


def dataset_name(name: str) -> str:
    """The name of a dataset, in which any character may stand."""
    text = _cut(name, DATASET_CHARACTERS)
    return name if text == name else _marked(text, name)


def dataset_input(
    name: str, digest_sha256: str, source: Mapping[str, Any], *, source_type: str, context: str, rows: int | None = None
) -> "DatasetInput":
    """An input of a run: of its digest MLflow keeps the first part, and a tag the whole."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(
        name=dataset_name(name),
        digest=digest_sha256[:DIGEST_CHARACTERS],
        source_type=source_type,
        source=json.dumps(source),
        profile=None if rows is None else json.dumps({"num_rows": rows}),
    )
    told = {"mlflow.data.context": _cut(context, DATASET_CHARACTERS), "sha256": digest_sha256}
    return DatasetInput(dataset, [InputTag(key, value) for key, value in told.items()])


def _flat(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Nested values by valid names, no two of them the same: `{"a": {"b": …}, "a.b": …}` has two."""
    taken: set[str] = set()
    for path, value in _leaves(values):
        name = valid_name(".".join(path))
        if name in taken:
            name = _marked(name, repr(path))
        taken.add(name)
        yield name, value


def _leaves(values: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in values.items():
        path = (*above, str(key))
        if isinstance(value, Mapping):
            yield from _leaves(value, path)
        else:
            yield path, value


def _marked(text: str, name: str) -> str:
    """The text, short enough, with what tells this name from every other."""
    return f"{text[: NAME_CHARACTERS - _MARK - 1]}-{text_digest(name)[:_MARK]}"


def _is_its_own_path(name: str) -> bool:
    return posixpath.normpath(name) == name and name != "." and not name.startswith(("..", "/"))


def _written(value: Any) -> str:
    if isinstance(value, list | tuple):
        return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return str(value)


def _cut(text: str, characters: int) -> str:
    """Text that a database takes: of at most so many characters, and without halves of surrogate pairs."""
    whole = text.encode("utf-8", "replace").decode("utf-8")
    return whole if len(whole) <= characters else f"{whole[: characters - 1]}…"
