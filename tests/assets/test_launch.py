"""Launch overrides: validated like a recipe, another artefact only where the result differs."""

from pathlib import Path

import pytest

from assets.checkpoints import StageCheckpoint, resolve_stage
from assets.making import Launch, job_of
from lineage.node import Given
from lineage.store import Artifact, Store
from recipes.errors import RecipeError
from tests.assets.made_pipeline import pipeline


def _job(folder: Path, launch: Launch, *, overridden_input: bool = False):
    made = pipeline(folder)
    upstream = {
        name: Artifact("tiny", name, "f" * 64, digest * 64, folder / name, overridden=overridden_input)
        for name, digest in (("base", "a"), ("mixture/mix", "b"))
    }
    node = StageCheckpoint(made, "sft", made.recipe.stages["sft"]).asked(launch.asked)
    return job_of(node, Given(Store(folder / "home"), upstream))


def test_an_override_is_another_artefact_and_is_marked(tmp_path: Path) -> None:
    plain, changed = _job(tmp_path, Launch()), _job(tmp_path, Launch(overrides={"learning_rate": 0.01}))
    assert not plain.overridden
    assert changed.overridden
    assert plain.request.fingerprint != changed.request.fingerprint
    assert changed.config["learning_rate"] == 0.01


def test_max_steps_is_an_override(tmp_path: Path) -> None:
    job = _job(tmp_path, Launch(max_steps=2))
    assert job.overridden
    assert job.config["max_steps"] == 2


def test_execution_changes_how_and_not_what(tmp_path: Path) -> None:
    plain, changed = _job(tmp_path, Launch()), _job(tmp_path, Launch(overrides={"execution": {"micro_batch": 4}}))
    assert not changed.overridden
    assert plain.request.fingerprint == changed.request.fingerprint
    assert changed.execution["micro_batch"] == 4
    assert changed.execution["threads"] == 1


def test_an_override_that_says_what_the_recipe_says_is_none(tmp_path: Path) -> None:
    assert not _job(tmp_path, Launch(overrides={"learning_rate": 0.001})).overridden


def test_what_is_built_on_an_override_is_overridden(tmp_path: Path) -> None:
    assert _job(tmp_path, Launch(), overridden_input=True).overridden


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"learning_rat": 0.1}, r"stages\.sft\.learning_rat: unknown key; did you mean 'learning_rate'"),
        ({"learning_rate": 7}, r"stages\.sft\.learning_rate: .*less than 1"),
        ({"execution": {"micro_batch": 3}}, "not a multiple"),
        ({"start": "dpo"}, r"stages\.sft\.start: decides the graph's edges"),
    ],
)
def test_a_bad_override_names_recipe_and_field(tmp_path: Path, overrides: dict[str, object], said: str) -> None:
    with pytest.raises(RecipeError, match=said) as raised:
        resolve_stage(pipeline(tmp_path), "sft", overrides)
    assert str(tmp_path / "tiny.yaml") in str(raised.value)
