"""Power at loading: computed as the gate would, and a gate that cannot open is refused with its figures."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from evaluation.gating import power as planning
from evaluation.statistics.statistics import paired_difference
from recipes.load import SHIPPED, load_recipe
from recipes.power import power_of, refusals, sentence
from tests.recipes.test_load import changed

_ROOT = SHIPPED.parent


def test_a_margin_that_100_items_cannot_show_is_refused_with_figures(tmp_path: Path) -> None:
    path = changed(tmp_path, "promotion.guards.0.margin", 0.01)
    done = _check(path)
    assert done.returncode == 2
    assert "promotion.guards.0: ifeval/prompt_strict: 32 items, margin 1 point:" in done.stderr
    assert "raise margin or limit" in done.stderr and "Traceback" not in done.stderr


def test_a_recipe_may_accept_guards_without_power(tmp_path: Path) -> None:
    path = changed(tmp_path, "promotion.guards.0.margin", 0.01)
    shutil.copytree(SHIPPED / "answers", tmp_path / "answers")
    path.write_text(
        path.read_text(encoding="utf-8").replace("promotion:\n", "promotion:\n  allow_underpowered: true\n")
    )
    assert _check(path).returncode == 0


@pytest.mark.parametrize("items", [40, 541, 5000])
@pytest.mark.parametrize("share", [0.1, 0.2])
def test_the_figures_are_those_of_the_gate_on_such_outcomes(tmp_path: Path, items: int, share: float) -> None:
    path = changed(tmp_path, "evaluation.tasks.mmlu.limit", items)
    recipe = load_recipe(path)
    half = round(items * share / 2)
    guard = recipe.promotion.guards[1].model_copy(update={"discordance": 2 * half / items})
    promotion = recipe.promotion.model_copy(update={"guards": [guard]})
    (power,) = power_of(recipe.model_copy(update={"promotion": promotion}))
    better = np.r_[np.ones(half), np.zeros(items - half)]
    worse = np.r_[np.zeros(items - half), np.ones(half)]
    seen = paired_difference(better, worse, None, True, promotion.alpha)
    assert power.chance == pytest.approx(planning.power(seen, 0.0, -guard.margin, promotion.alpha))
    assert power.narrowest == pytest.approx(
        planning.detectable(seen, -guard.margin, promotion.alpha, promotion.power), rel=1e-6
    )
    assert power.needed == planning.items_needed(seen, 0.0, -guard.margin, promotion.alpha, promotion.power)


def test_the_items_needed_are_the_fewest_that_suffice() -> None:
    recipe = load_recipe(SHIPPED / "demo.yaml")
    needed = power_of(recipe)[1].needed
    for items, enough in ((needed, True), (needed - 1, False)):
        tasks = {**recipe.evaluation.tasks, "mmlu": recipe.evaluation.tasks["mmlu"].model_copy(update={"limit": items})}
        sized = recipe.model_copy(update={"evaluation": recipe.evaluation.model_copy(update={"tasks": tasks})})
        assert (power_of(sized)[1].chance or 0) >= recipe.promotion.power - 1e-9 if enough else refusals(sized)


def test_without_a_limit_it_says_how_many_items_it_takes() -> None:
    recipe = load_recipe(SHIPPED / "qwen2-0.5b-instruct.yaml")
    said = [sentence(power, recipe.promotion) for power in power_of(recipe)]
    assert "needs 6,215 items" in said[1] and not refusals(recipe)


def _check(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "orchestration", "check", str(path)]
    return subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("kind", "metric", "items", "changing"),
    [
        ("gpqa", "accuracy", 198, 0.25),
        ("gsm8k", "strict_match", 1319, 0.15),
        ("gsm8k", "flexible_match", 1319, 0.15),
        ("aime", "accuracy", 30, 0.2),
        ("arc", "accuracy", 1172, 0.15),
        ("truthfulqa", "mc1", 817, 0.2),
        ("truthfulqa", "mc2", 817, 0.2),
        ("mmlu_pro", "accuracy", None, 0.2),
        ("functions", "accuracy", None, 0.2),
        ("perplexity", "byte_probability", None, 0.001),
        ("code", "pass_rate", None, 0.2),
    ],
)
def test_benchmarks_have_a_known_size_and_discordance(
    tmp_path: Path, kind: str, metric: str, items: int | None, changing: float
) -> None:
    more = {"mmlu_pro": {"shots": 0}, "code": {"allow_code_execution": True}}.get(kind, {})
    path = changed(tmp_path, "evaluation.tasks.quiz", {"kind": kind, "data": {"uri": "rows.jsonl"}, **more})
    recipe = load_recipe(path)
    guard = recipe.promotion.guards[0].model_copy(update={"metric": f"quiz/{metric}"})
    assert guard.metric in recipe.metric_names()
    promotion = recipe.promotion.model_copy(update={"guards": [guard]})
    (power,) = power_of(recipe.model_copy(update={"promotion": promotion}))
    assert (power.items, power.discordance) == (items, changing)


def test_thirty_problems_of_aime_have_no_power_for_a_small_margin(tmp_path: Path) -> None:
    path = changed(tmp_path, "evaluation.tasks.aime", {"kind": "aime", "data": {"uri": "aime.jsonl"}})
    text = path.read_text(encoding="utf-8").replace("metric: ifeval/prompt_strict", "metric: aime/accuracy")
    path.write_text(text, encoding="utf-8")
    recipe = load_recipe(path)
    assert any("aime/accuracy: 30 items, margin 22 points" in refusal for refusal in refusals(recipe))
