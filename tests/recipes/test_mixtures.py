"""The mixture part of a recipe: what it takes, and what it refuses before a byte is read."""

from typing import Any

import pytest
from pydantic import ValidationError

from recipes.cleaning import Splits
from recipes.errors import RecipeError
from recipes.load import SHIPPED, read_yaml, validate
from recipes.mixtures import Mixture

GIVEN: dict[str, Any] = {"shares": {"a": 0.5, "b": 0.5}, "size": 10, "max_length": 64, "seed": 1}
DOCUMENTS = {"kind": "documents", "sequence_length": 64, "max_length": None}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"shares": {}}, "either shares, as in {general: 0.6, domain: 0.4}, or a list of groups"),
        ({"groups": ["a"]}, "either shares"),
        ({"shares": {}, "groups": ["a", "a"]}, "either shares"),
        ({"within": {"c": {"x": 1.0}}}, "within names groups that are not mixed: ['c']"),
        ({"max_length": None}, "a mixture of conversations needs max_length and takes no sequence_length"),
        ({"sequence_length": 64}, "a mixture of conversations needs max_length and takes no sequence_length"),
        ({**DOCUMENTS, "max_length": 64}, "a mixture of documents needs sequence_length and takes no max_length"),
        ({"end_of_text": "<|endoftext|>"}, "end_of_text is for a mixture of documents"),
        ({"max_epochs": 2}, "max_epochs is for exhaustion 'repeat'"),
        ({"tolerance": 0}, "greater than 0"),
        ({"temperature": 0}, "greater than 0"),
    ],
)
def test_fields_that_do_not_fit_together_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Mixture.model_validate(GIVEN | fields)
    assert message in str(caught.value)


def test_groups_may_stand_in_the_place_of_shares() -> None:
    assert Mixture.model_validate(GIVEN).members == ["a", "b"]
    assert Mixture.model_validate(GIVEN | {"shares": {}, "groups": ["b", "a"], "temperature": 3}).members == ["b", "a"]
    assert Mixture.model_validate(GIVEN | DOCUMENTS).sequence_length == 64


@pytest.mark.parametrize(
    "fields", [{}, DOCUMENTS, {"shares": {}, "groups": ["a"], "temperature": 2, "tolerance": 0.01}]
)
def test_a_mixture_written_out_in_full_is_the_same_mixture(fields: dict[str, Any]) -> None:
    mixture = Mixture.model_validate(GIVEN | fields)
    assert Mixture.model_validate(mixture.model_dump(mode="json")) == mixture


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"shares": {}, "groups": ["general", "poetry"], "within": {}}, "mixtures.chat.groups.poetry: no source has"),
        ({"temperature": 2}, "mixtures.chat.temperature: every share is written out, so it would change nothing"),
        (DOCUMENTS, "stages.sft.mixture: 'chat' holds documents; sft takes conversations"),
    ],
)
def test_fields_that_do_not_fit_the_recipe_are_refused(fields: dict[str, Any], message: str) -> None:
    demo = read_yaml(SHIPPED / "demo.yaml")
    with pytest.raises(RecipeError) as caught:
        validate({"name": "demo", **demo, "mixtures": {"chat": demo["mixtures"]["chat"] | fields}}, "demo.yaml")
    assert message in str(caught.value)


def test_temperature_is_taken_where_a_group_leaves_its_sources_open() -> None:
    demo = read_yaml(SHIPPED / "demo.yaml")
    chat = demo["mixtures"]["chat"] | {"within": {}, "temperature": 2}
    assert validate({"name": "demo", **demo, "mixtures": {"chat": chat}}, "demo.yaml").mixtures["chat"].temperature == 2


def test_nothing_is_split_off_by_default() -> None:
    demo = validate({"name": "demo", **read_yaml(SHIPPED / "demo.yaml")}, "demo.yaml")
    assert demo.splits == Splits(validation=0, held_out=0)
