"""Recipes: every shipped one is valid, and every way to get one wrong names file, field and mend."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from recipes.errors import RecipeError
from recipes.load import SHIPPED, load_recipe, load_recipes, recipe_schema
from recipes.schema import Recipe, identity

DEMO: dict[str, Any] = yaml.safe_load((SHIPPED / "demo.yaml").read_text(encoding="utf-8"))


def changed(tmp_path: Path, field: str, value: Any) -> Path:
    """The demo recipe with one dotted field set to `value` (removed when value is ...)."""
    raw: Any = yaml.safe_load((SHIPPED / "demo.yaml").read_text(encoding="utf-8"))
    *parents, last = field.split(".")
    section = raw
    for key in parents:
        section = section[int(key)] if isinstance(section, list) else section[key]
    if value is ...:
        del section[last]
    else:
        section[last] = value
    path = tmp_path / "changed.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
    return path


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_shipped_recipe_is_valid(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.description and recipe.schedule
    assert all(source.licence for source in recipe.sources.values())


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_answers_file_of_a_shipped_recipe_exists(path: Path) -> None:
    recipe = load_recipe(path)
    named = [s.answers for s in recipe.sources.values()] + [
        rule.answers for p in recipe.preferences.values() for rule in p.of_sources
    ]
    for name in filter(None, named):
        assert (path.parent / name).is_file()


def test_recipes_are_called_after_their_files() -> None:
    assert set(load_recipes()) >= {"demo", "qwen2_0_5b_instruct"}


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("stages.sft.learning_rte", 1e-3, "stages.sft.learning_rte: unknown key; did you mean 'learning_rate'?"),
        ("model.dtpye", "float32", "model.dtpye: unknown key; did you mean 'dtype'?"),
        ("sources.sums.colums", {}, "sources.sums.colums: unknown key; did you mean 'columns'?"),
        ("evaluation.tasks.mmlu.shot", 5, "evaluation.tasks.mmlu.shot: unknown key; did you mean 'shots'?"),
        ("stages.dpo.lora.rnak", 5, "stages.dpo.lora.rnak: unknown key; did you mean 'rank'?"),
        ("evaluation.tasks.harmful.columns", {"promt": "x"}, "columns.promt: unknown key; did you mean 'prompt'?"),
        ("promotion.guards.0.flor", 5, "promotion.guards.0.flor: unknown key; did you mean 'floor'?"),
        ("preferences.pairs.pairs.0.limt", 5, "preferences.pairs.pairs.0.limt: unknown key; did you mean 'limit'?"),
        ("stages.dpo.beta", -1, "stages.dpo.beta: Input should be greater than 0, found -1"),
        ("mixtures.chat.shares.safety", 0.2, "mixtures.chat: shares sum to 1.1, not to 1"),
        (
            "mixtures.chat.shares",
            {"general": 0.6, "safety": 0.3, "poetry": 0.1},
            "mixtures.chat.shares.poetry: no source has this",
        ),
        ("sources.alpaca_en.uri", "s4://bucket/file", "sources.alpaca_en: uri scheme 's4://' is not known"),
        ("sources.alpaca_en.sha256", ..., "sources.alpaca_en: a pypi uri needs sha256"),
        ("sources.sums.uri", "gym://chain_sum?seed=1", "a gym uri needs a whole number 'size'"),
        (
            "sources.sums.uri",
            "gym://countdown?size=9&seed=1",
            "sources.sums: gym://countdown: reasoning-gym's task 'countdown' is refused: its scorer runs the answer as "
            "Python. Use a task whose scorer only compares",
        ),
        ("sources.sums.uri", "gym://chain_sun?size=9&seed=1", "close to it are ['chain_sum'"),
        (
            "evaluation.tasks.sums.data.uri",
            "gym://composite?size=9&seed=1&split=held_out",
            "evaluation.tasks.sums.data: gym://composite: reasoning-gym's task 'composite' is refused",
        ),
        ("sources.caution.answers", ..., "sources.caution: format 'prompts' needs 'answers'"),
        ("sources.safe_counterparts.separator", ..., "columns.text of format 'prompt_completion' needs 'separator'"),
        ("stages.dpo.start", "stf", "stages.dpo.start: 'stf' is none of the checkpoints before it"),
        ("stages.sft.mixture", "caht", "stages.sft.mixture: 'caht' is not a mixture"),
        ("promotion.target.metric", "sums/acc", "promotion.target.metric: 'sums/acc' is none of"),
        ("promotion.target", {"require": "some", "of": []}, "promotion.target.require: Input should be 'any' or 'all'"),
        (
            "promotion.target",
            {"require": "any", "of": [{"metric": "mmlu/accuracy"}, {"metric": "sums/acc"}]},
            "promotion.target.of.1.metric: 'sums/acc' is none of",
        ),
        (
            "promotion.target",
            {"require": "any", "of": [{"metric": "sums/accuracy"}, {"metric": "sums/accuracy"}]},
            "promotion.target.of: sums/accuracy: named more than once",
        ),
        ("promotion.target.min_gian", 0.1, "promotion.target.min_gian: unknown key; did you mean 'min_gain'?"),
        ("evaluation.reports", ["sft", "dpo"], "evaluation.reports: 'base' is missing"),
        ("stages.sft.execution", {"micro_batch": 3}, "batch_rows 16 is not a multiple of micro_batch × devices = 3"),
        ("schedule.cron", "weekly", "'weekly' is not a cron of five fields"),
        ("name", "other", "name: leave it out"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, field: str, value: Any, message: str) -> None:
    path = changed(tmp_path, field, value)
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_no_field_of_another_section_is_meant(tmp_path: Path) -> None:
    for field in ("stages.sft.beta", "schedule.seed", "model.sources", "evaluation.tasks.sums.punkt", "promotion.kind"):
        with pytest.raises(RecipeError, match=rf"{field}: unknown key$"):
            load_recipe(changed(tmp_path, field, 1))


def test_the_schema_for_editors_is_that_of_the_recipes_and_every_shipped_one_names_it() -> None:
    assert json.loads((SHIPPED / "recipe.schema.json").read_text(encoding="utf-8")) == recipe_schema(), "make format"
    for path in SHIPPED.glob("*.yaml"):
        assert path.read_text(encoding="utf-8").startswith("# yaml-language-server: $schema=recipe.schema.json\n"), path


@pytest.mark.parametrize("name", [".", "..", "..x", "a/b", ""])
def test_a_registered_model_has_a_name_that_the_registry_takes(tmp_path: Path, name: str) -> None:
    with pytest.raises(RecipeError, match=r"promotion\.registered_model: String should match"):
        load_recipe(changed(tmp_path, "promotion.registered_model", name))


def test_all_wrong_fields_are_listed_at_once(tmp_path: Path) -> None:
    path = changed(tmp_path, "stages.sft.seed", "x")
    path.write_text(path.read_text(encoding="utf-8").replace("batch_size: 48", "batch_size: 0"), encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert len(str(caught.value).splitlines()) == 2


def test_a_key_written_twice_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "twice.yaml"
    path.write_text("description: a\ndescription: b\n", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"twice\.yaml:2:1: key 'description' is written twice"):
        load_recipe(path)


def test_a_missing_file_and_broken_yaml_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no such file"):
        load_recipe(tmp_path / "none.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1,\n", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"broken\.yaml:2"):
        load_recipe(broken)


def test_one_target_is_written_as_ever_and_keeps_its_identity() -> None:
    promotion = Recipe.model_validate({"name": "demo", **DEMO}).promotion
    assert identity(promotion)["target"] == {"metric": "sums/accuracy", "min_gain": 0.1}
    assert [target.metric for target in promotion.targets] == ["sums/accuracy"] and not promotion.alternatives


def test_identity_ignores_execution_and_where_bytes_lie() -> None:
    recipe = Recipe.model_validate({"name": "demo", **DEMO})
    moved = DEMO | {"stages": DEMO["stages"] | {"sft": DEMO["stages"]["sft"] | {"execution": {"micro_batch": 8}}}}
    assert identity(Recipe.model_validate({"name": "demo", **moved}).stages["sft"]) == identity(recipe.stages["sft"])
    hotter = DEMO | {"stages": DEMO["stages"] | {"sft": DEMO["stages"]["sft"] | {"learning_rate": 2e-3}}}
    assert identity(Recipe.model_validate({"name": "demo", **hotter}).stages["sft"]) != identity(recipe.stages["sft"])
    assert "uri" not in identity(recipe.sources["alpaca_en"])
