"""Names and values are made into what MLflow itself takes, and two of them stay two."""

import math
from typing import Any

import pytest

from jobs import mlflow_names
from jobs.mlflow_names import model_name, numbers, params, tags, valid_name, version_tags
from jobs.mlflow_uri import public
from tests.source_texts import NASTY, texts

ROOMS = ("recipes", "lineage", "corpora", "training", "evaluation", "assets")


@pytest.mark.parametrize("name", ["loss", "rewards/margins", "field x is empty", "a.b-c:d", "Größe", "x" * 250, " "])
def test_a_name_that_mlflow_takes_stays(name: str) -> None:
    assert valid_name(name) == name


def test_every_text_of_the_source_becomes_a_name_of_its_own_that_mlflow_takes() -> None:
    from mlflow.utils import validation

    asked = texts(*ROOMS) | set(NASTY)
    assert {"rows_conserved", "no turns", "quarantine_share", "field 'it's' is not text"} <= asked
    found = [valid_name(text) for text in asked]
    for name in found:
        validation._validate_metric(name, 0.5, 0, 0)
        validation._validate_param(name, "")
        validation._validate_tag(name, "")
        validation._validate_model_version_tag(name, "")
    assert len(set(found)) == len(asked)
    for text in asked:
        validation._validate_logged_model_name(model_name(text))


def test_names_that_look_alike_stay_apart_and_the_same_wherever_they_are_logged() -> None:
    apart = numbers({"why": {"a'b": 1, 'a"b': 2, "a_b": 3}})
    assert sorted(apart.values()) == [1, 2, 3] and apart["why.a_b"] == 3
    assert numbers({"why": {"a'b": 7}}).items() == {(name, 7) for name, value in apart.items() if value == 1}
    assert sorted(numbers({"a": {"b": {"c": 1}, "b.c": 2}, "a.b": {"c": 3}}).values()) == [1, 2, 3]


def test_limits_are_those_of_mlflow() -> None:
    from mlflow.utils import validation

    assert (
        mlflow_names.NAME_CHARACTERS == validation.MAX_ENTITY_KEY_LENGTH == validation.MAX_MODEL_REGISTRY_TAG_KEY_LENGTH
    )
    assert mlflow_names.PARAM_CHARACTERS == validation.MAX_PARAM_VAL_LENGTH
    assert mlflow_names.TAG_CHARACTERS == validation.MAX_TAG_VAL_LENGTH
    assert mlflow_names.VERSION_TAG_CHARACTERS == validation.MAX_MODEL_REGISTRY_TAG_VALUE_LENGTH
    assert mlflow_names.DATASET_CHARACTERS == validation.MAX_DATASET_NAME_SIZE == validation.MAX_INPUT_TAG_VALUE_SIZE
    assert mlflow_names.DIGEST_CHARACTERS == validation.MAX_DATASET_DIGEST_SIZE
    assert mlflow_names.METRICS_AT_ONCE == validation.MAX_METRICS_PER_BATCH
    assert mlflow_names.PARAMS_AT_ONCE == validation.MAX_PARAMS_TAGS_PER_BATCH


@pytest.mark.parametrize(("make", "limit"), [(params, 6000), (tags, 8000), (version_tags, 100_000)])
def test_a_value_too_long_is_cut_and_says_so(make: Any, limit: int) -> None:
    [text] = make({"a": {"b": "ü" * (limit + 1)}}).values()
    assert len(text) == limit and text.endswith("ü…")
    assert make({"a": "ü" * limit, "half": "\ud800"}) == {"a": "ü" * limit, "half": "?"}


def test_numbers_are_all_that_count_also_those_that_are_not_finite() -> None:
    found = numbers({"share": 0.5, "passed": True, "kind": "sft", "rows": [1], "loss": math.nan, "most": math.inf})
    assert {name: value for name, value in found.items() if value == value} == {
        "share": 0.5,
        "passed": 1,
        "most": math.inf,
    }
    assert math.isnan(found["loss"])


@pytest.mark.parametrize(
    "address",
    [
        "https://user:S3cret@mlflow.example/path",
        "postgresql://u:pa/S3cret@h/db",
        "postgresql://h/db?user=u&password=S3cret",
        "could not reach http://h/?token=S3cret today",
    ],
)
def test_no_secret_of_an_address_is_shown(address: str) -> None:
    assert "S3cret" not in public(address)
    assert "://" in public(address)
