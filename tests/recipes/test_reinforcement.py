"""Prompts and rewards in a recipe: what they refer to must be there."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from recipes.errors import RecipeError
from recipes.load import SHIPPED, load_recipe
from recipes.schema import identity
from recipes.stages import Grpo


def changed(tmp_path: Path, **sections: dict[str, Any]) -> Path:
    """The arithmetic recipe with changed fields of sections."""
    raw: Any = yaml.safe_load((SHIPPED / "arithmetic-grpo.yaml").read_text(encoding="utf-8"))
    for section, fields in sections.items():
        for name, value in fields.items():
            raw[section][name] = {**raw[section].get(name, {}), **value}
    path = tmp_path / "changed.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
    return path


def test_the_arithmetic_recipe_learns_on_problems_that_it_never_saw_solved() -> None:
    recipe = load_recipe(SHIPPED / "arithmetic-grpo.yaml")
    stage = recipe.stages["grpo"]
    assert isinstance(stage, Grpo)
    assert stage.inputs() == {"start": ("warmup",), "prompts": ("prompts", "sums")}
    assert recipe.used_sources() == ["examples", "problems"]


def test_no_held_out_question_of_the_identity_recipe_is_trained_on() -> None:
    recipe = load_recipe(SHIPPED / "identity-dpo.yaml")
    trained = yaml.safe_load((SHIPPED / "answers" / "identity.yaml").read_text(encoding="utf-8"))
    seen = {row["prompt"].casefold() for row in trained}
    for name in ("identity", "elsewhere"):
        asked = (SHIPPED / recipe.evaluation.tasks[name].data.uri).read_text(encoding="utf-8").splitlines()
        assert len(asked) == len(set(asked)) >= 32
        assert not seen & {line.casefold() for line in asked}


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"stages": {"grpo": {"prompts": "smus"}}}, "stages.grpo.prompts: 'smus' is not a prompts entry"),
        ({"prompts": {"sums": {"sources": ["sum"]}}}, "prompts.sums.sources.0: 'sum' is not a source"),
        (
            {"stages": {"grpo": {"rewards": [{"kind": "reward_model", "checkpoint": "warmup"}]}}},
            "stages.grpo.rewards: 'warmup' is no earlier stage of kind reward",
        ),
        (
            {"stages": {"grpo": {"rewards": [{"kind": "verifyer"}]}}},
            "stages.grpo.rewards.0.kind: 'verifyer' is none of verifier,",
        ),
        (
            {"stages": {"grpo": {"rewards": [{"kind": "length", "free_token": 3}]}}},
            "stages.grpo.rewards.0.free_token: unknown key; did you mean 'free_tokens'?",
        ),
        (
            {"sources": {"examples": {"format": "prompts"}}},
            "sources.examples: format 'prompts' needs 'answers'",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, sections: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(changed(tmp_path, **sections))
    assert message in str(caught.value)


def test_prompts_may_come_without_answers(tmp_path: Path) -> None:
    recipe = load_recipe(changed(tmp_path, sources={"problems": {"format": "prompts"}}))
    assert recipe.sources["problems"].answers is None


def test_how_a_machine_answers_is_not_identity() -> None:
    stage = load_recipe(SHIPPED / "arithmetic-grpo.yaml").stages["grpo"]
    moved = stage.model_copy(update={"execution": stage.execution.model_copy(update={"micro_batch": 1})})
    assert identity(moved) == identity(stage)


def test_a_reward_model_is_an_upstream_checkpoint(tmp_path: Path) -> None:
    raw: Any = yaml.safe_load((SHIPPED / "arithmetic-grpo.yaml").read_text(encoding="utf-8"))
    raw["sources"]["judged"] = {"uri": "judged.jsonl", "group": "preference", "licence": "none"}
    raw["preferences"] = {"pairs": {"pairs": [{"source": "judged"}], "max_length": 64, "seed": 1}}
    shared = {"learning_rate": 1.0e-4, "batch_rows": 8, "seed": 1}
    judge = {"kind": "reward", "start": "base", "preferences": "pairs", **shared}
    rewards = [{"kind": "verifier"}, {"kind": "reward_model", "checkpoint": "judge", "weight": 0.5}]
    raw["stages"] = {"judge": judge, **raw["stages"], "grpo": {**raw["stages"]["grpo"], "rewards": rewards}}
    path = tmp_path / "judged.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
    assert load_recipe(path).stages["grpo"].inputs()["rewards"] == ("judge",)
