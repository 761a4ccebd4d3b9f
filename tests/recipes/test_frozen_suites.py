"""Frozen suites: a recipe takes one over whole, and none changes without its version."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from recipes.errors import RecipeError
from recipes.frozen import SHIPPED_SUITES
from recipes.load import load_recipe
from recipes.schema import identity
from tests.recipes.frozen_suites import known, shipped
from tests.recipes.test_load import DEMO

OWN = {
    "version": 3,
    "tasks": {
        "held": {"kind": "perplexity", "data": {"uri": "data/held.txt"}},
        "names": {"kind": "phrases", "data": {"uri": "names.txt"}, "phrases": ["Ada"], "limit": 9},
    },
}


def recipe_with(folder: Path, tasks: dict[str, Any] | None = None, **evaluation: Any) -> Path:
    """The demo recipe with another evaluation, its target and guards on tasks of its own."""
    sums = {"sums": DEMO["evaluation"]["tasks"]["sums"]}
    section = {"reports": ["base", "dpo"], "tasks": {**sums, **(tasks or {})}, **evaluation}
    promotion = {**DEMO["promotion"], "guards": []}
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({**DEMO, "evaluation": section, "promotion": promotion}, sort_keys=False))
    return path


def suite(folder: Path, **changes: Any) -> Path:
    path = folder / "suites" / "house.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump({**OWN, **changes}, sort_keys=False), encoding="utf-8")
    return path


def test_no_shipped_suite_changed_without_its_version() -> None:
    for name, (version, digest) in shipped().items():
        assert known().get(name, {}).get(str(version)) == digest, (
            f"recipes/suites/{name}.yaml asks something else than version {version} did: raise version, then run "
            "python -m tests.recipes.frozen_suites"
        )


def test_a_snapshot_notices_a_changed_limit_pin_or_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = shipped()["core"]
    content = yaml.safe_load((SHIPPED_SUITES / "core.yaml").read_text(encoding="utf-8"))
    monkeypatch.setattr("tests.recipes.frozen_suites.SHIPPED_SUITES", tmp_path)
    for change in ({"limit": 9}, {"data": {**content["tasks"]["mmlu"]["data"], "sha256": "0" * 64}}, {"shots": 0}):
        mmlu = {**content["tasks"]["mmlu"], **change}
        (tmp_path / "core.yaml").write_text(yaml.safe_dump({**content, "tasks": {**content["tasks"], "mmlu": mmlu}}))
        assert shipped()["core"][0] == before[0] and shipped()["core"][1] != before[1]


def test_every_source_of_a_shipped_suite_is_pinned() -> None:
    for path in SHIPPED_SUITES.glob("*.yaml"):
        for task in yaml.safe_load(path.read_text(encoding="utf-8"))["tasks"].values():
            for origin in (value for value in task.values() if isinstance(value, dict) and "uri" in value):
                assert "sha256" in origin or "@" in origin["uri"], f"{path.name}: {origin}"


def test_a_recipe_takes_over_a_shipped_suite_and_adds_its_own(tmp_path: Path) -> None:
    recipe = load_recipe(recipe_with(tmp_path, suite="core"))
    assert list(recipe.evaluation.tasks) == ["ifeval", "mmlu", "harmful", "benign", "sums"]
    assert recipe.evaluation.suite is not None and recipe.evaluation.suite.model_dump() == {
        "name": "core",
        "version": 1,
    }
    assert "mmlu/accuracy" in recipe.metric_names()


def test_paths_of_a_suite_are_beside_it(tmp_path: Path) -> None:
    suite(tmp_path)
    recipe = load_recipe(recipe_with(tmp_path, suite="suites/house.yaml"))
    assert recipe.evaluation.tasks["held"].data.uri == "suites/data/held.txt"


def test_a_recipe_does_not_change_a_task_of_its_suite(tmp_path: Path) -> None:
    suite(tmp_path)
    path = recipe_with(tmp_path, {"names": {**OWN["tasks"]["names"], "limit": 3}}, suite="suites/house.yaml")
    with pytest.raises(RecipeError, match=r"mine\.yaml: evaluation\.tasks\.names: suite 'house' has a task of this"):
        load_recipe(path)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("cor", r"mine\.yaml: evaluation\.suite: 'cor' is none of the shipped suites \['core'\]"),
        ("none.yaml", r"mine\.yaml: evaluation\.suite: 'none\.yaml': no such file"),
        ({"name": "core"}, r"mine\.yaml: evaluation\.suite: expected the name or the path"),
    ],
)
def test_a_suite_that_is_not_there_is_named(tmp_path: Path, named: Any, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe(recipe_with(tmp_path, suite=named))


def test_an_error_in_a_suite_names_its_file(tmp_path: Path) -> None:
    suite(tmp_path, tasks={"names": {**OWN["tasks"]["names"], "limt": 3}})
    with pytest.raises(RecipeError, match=r"house\.yaml: tasks\.names\.limt: unknown key; did you mean 'limit'"):
        load_recipe(recipe_with(tmp_path, suite="suites/house.yaml"))
    suite(tmp_path, version=0)
    with pytest.raises(RecipeError, match=r"house\.yaml: version: Input should be greater"):
        load_recipe(recipe_with(tmp_path, suite="suites/house.yaml"))


def test_a_recipe_without_a_suite_is_identified_as_before(tmp_path: Path) -> None:
    assert "suite" not in identity(load_recipe(recipe_with(tmp_path)).evaluation)
    suite(tmp_path)
    with_one = identity(load_recipe(recipe_with(tmp_path, suite="suites/house.yaml")).evaluation)
    suite(tmp_path, version=4)
    with_next = identity(load_recipe(recipe_with(tmp_path, suite="suites/house.yaml")).evaluation)
    assert with_one["suite"] == {"name": "house", "version": 3} != with_next["suite"]
    assert str(tmp_path) not in str(with_one)


def test_launch_overrides_leave_a_suite_as_it_is(tmp_path: Path) -> None:
    from recipes.load import validate

    recipe = load_recipe(recipe_with(tmp_path, suite="core"))
    assert validate(recipe.model_dump(mode="python"), "again") == recipe
