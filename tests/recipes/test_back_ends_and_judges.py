"""Back ends and judges in a recipe: what is refused when it loads, and what names no result."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from recipes.errors import RecipeError
from recipes.load import SHIPPED, load_recipe
from recipes.schema import Recipe, identity

JUDGED: dict[str, Any] = {
    "kind": "pairwise_judge",
    "data": {"uri": "rows.jsonl"},
    "judge": {"model": "some-judge", "execution": {"url": "https://judge.example/v1", "api_key_env": "JUDGE_KEY"}},
}


def changed(tmp_path: Path, promotion: dict[str, Any] | None = None, **evaluation: Any) -> Recipe:
    """The demo recipe with other settings of its evaluation and promotion."""
    raw = yaml.safe_load((SHIPPED / "demo.yaml").read_text(encoding="utf-8"))
    raw["evaluation"]["tasks"] |= evaluation.pop("tasks", {})
    raw["evaluation"] |= evaluation
    raw["promotion"] |= promotion or {}
    path = tmp_path / "changed.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
    return load_recipe(path)


def test_the_usual_back_end_and_the_address_of_a_server_are_no_part_of_the_identity(tmp_path: Path) -> None:
    usual = changed(tmp_path).evaluation
    assert {"backend", "api", "execution"}.isdisjoint(identity(usual))
    assert identity(changed(tmp_path, backend="transformers", api="completions").evaluation) == identity(usual)
    here = {"server": {"url": "http://one:8000/v1", "api_key_env": "KEY"}}
    one, other = (changed(tmp_path, backend="server", **more).evaluation for more in ({}, {"execution": here}))
    assert identity(one) == identity(other) != identity(usual)
    judged = changed(tmp_path, tasks={"arena": JUDGED}).evaluation
    moved = {**JUDGED, "judge": {"model": "some-judge", "execution": {"url": "http://other/v1"}}}
    assert identity(changed(tmp_path, tasks={"arena": moved}).evaluation) == identity(judged)
    assert "judge.example" not in str(identity(judged))


@pytest.mark.parametrize(
    ("evaluation", "message"),
    [
        (
            {"backend": "server", "api": "chat"},
            r"api: chat gives no log-probabilities of given answers, which \['mmlu'",
        ),
        ({"api": "chat"}, "api: chat is of a server"),
        ({"backend": "vlm"}, "evaluation.backend: Input should be"),
        (
            {"execution": {"server": {"url": "http://me:secret@box/v1"}}},
            "execution.server.url: a server's url holds no user, password or query",
        ),
        ({"execution": {"server": {"url": "box:8000"}}}, "a server's url is http://"),
        ({"execution": {"server": {"model": "mine"}}}, "every checkpoint would be scored by the answers of one model"),
        ({"execution": {"server": {"model": "{name}-{date}"}}}, "knows the places {checkpoint} and {name} alone"),
        (
            {"execution": {"server": {"api_key_env": "sk-1234 5678"}}},
            "execution.server.api_key_env: String should match",
        ),
        ({"tasks": {"arena": {**JUDGED, "api_key": "x"}}}, "tasks.arena.api_key: unknown key"),
    ],
)
def test_what_cannot_be_right_is_refused(tmp_path: Path, evaluation: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message) as refused:
        changed(tmp_path, **evaluation)
    assert "evaluation" in str(refused.value) and "me:secret" not in str(refused.value)


def test_a_judge_decides_nothing_unless_the_task_says_so(tmp_path: Path) -> None:
    rule = {"target": {"metric": "arena/win_rate"}}
    with pytest.raises(RecipeError, match=r"promotion.target.metric: 'arena/win_rate' is a judge's opinion; say advis"):
        changed(tmp_path, rule, tasks={"arena": JUDGED})
    with pytest.raises(RecipeError, match=r"promotion.guards.0.metric: 'talk/grade' is a judge's opinion"):
        guard = {"guards": [{"metric": "talk/grade", "margin": 0.1}]}
        changed(tmp_path, guard, tasks={"talk": {**JUDGED, "kind": "graded_judge"}})
    decisive = {"arena": {**JUDGED, "advisory": False}}
    assert changed(tmp_path, rule, tasks=decisive).promotion.target.metric == "arena/win_rate"
    controlled = {"target": {"metric": "arena/length_controlled_win_rate"}}
    assert changed(tmp_path, controlled, tasks=decisive).promotion.target.metric.startswith("arena/")
