"""Assets of preferences and of scored sources: their inputs, checks and pool follow from the recipe."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.checks import declared
from assets.corpora import CleanCorpus
from assets.making import GPU, asset_of
from assets.mixtures import PreferenceRows
from assets.pipeline import Pipeline
from recipes.cleaning import Splits
from recipes.errors import RecipeError
from recipes.load import SHIPPED, load_recipe, read_yaml, validate
from tests.assets.made_pipeline import FIELDS, pipeline, write_recipe

THUMBS = {"thumbs": {"unpaired": [{"source": "pairs"}], "max_length": 256, "seed": 5}}


def judged(made: Pipeline, name: str) -> dg.AssetsDefinition:
    return asset_of(made, PreferenceRows(made, name, made.recipe.preferences[name]))


def test_unpaired_answers_have_checks_of_their_own(tmp_path: Path) -> None:
    made = pipeline(tmp_path, preferences=THUMBS)
    for name, kind in (("judged", "preferences"), ("thumbs", "unpaired")):
        assert {spec.name for spec in judged(made, name).check_specs} == set(declared(kind))


def test_splits_are_a_part_of_what_preferences_are(tmp_path: Path) -> None:
    plain = pipeline(tmp_path / "plain")
    split = Pipeline(plain.recipe.model_copy(update={"splits": Splits(held_out=0.1)}), plain.path)
    versions = [_only(judged(made, "judged").code_versions_by_key) for made in (plain, split)]
    assert versions[0] != versions[1]


def test_a_stage_is_given_what_it_prefers(tmp_path: Path) -> None:
    stages = {"dpo": {**FIELDS["stages"]["dpo"], "preferences": "thumbs"}}
    path = write_recipe(tmp_path, preferences=THUMBS, stages=stages)
    with pytest.raises(RecipeError, match=r"stages\.dpo\.preferences: 'thumbs' holds unpaired; dpo takes pairs"):
        load_recipe(path)


def test_a_source_that_is_scored_reads_the_base_model_and_takes_its_turn_on_the_device(tmp_path: Path) -> None:
    chat = {**FIELDS["sources"]["chat"], "steps": [{"kind": "difficulty", "keep_share": 0.5}]}
    found = {}
    for name, sources in (("plain", {}), ("scored", {"chat": chat})):
        made = pipeline(tmp_path / name, sources=sources)
        asset = asset_of(made, CleanCorpus(made, "chat", made.recipe.sources["chat"]))
        found[name] = (made.key("base") in asset.keys_by_input_name.values(), asset.op.pool)
    assert found == {"plain": (False, None), "scored": (True, GPU)}


def test_an_untrained_model_scores_no_source() -> None:
    fields = read_yaml(SHIPPED / "pretrain-tiny.yaml")
    name = next(iter(fields["sources"]))
    fields["sources"][name]["steps"] = [{"kind": "difficulty", "max": 1.0}]
    with pytest.raises(RecipeError, match=rf"sources\.{name}\.steps: difficulty .* this recipe's is untrained"):
        validate({"name": "tiny", **fields}, "tiny.yaml")


def _only(values: Any) -> Any:
    [value] = values.values()
    return value
