"""A snapshot of every asset of the shipped recipes, so that no key, edge, check or pool moves unnoticed.

After a change that is meant: `python -m tests.test_specs` writes the snapshot again; review its diff.
"""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from orchestration.wiring import build, load_pipelines
from recipes.errors import RecipeError
from recipes.load import SHIPPED
from tests.assets.made_pipeline import write_recipe

_SNAPSHOT = Path(__file__).with_name("specs.json")


def test_assets_of_the_shipped_recipes_are_as_reviewed() -> None:
    assert described(_definitions(sorted(SHIPPED.glob("*.yaml")))) == json.loads(_SNAPSHOT.read_text(encoding="utf-8"))


def test_a_recipe_file_more_is_a_graph_more_with_no_python(tmp_path: Path) -> None:
    before = described(_definitions(sorted(SHIPPED.glob("*.yaml"))))
    own = write_recipe(tmp_path, "own-domain")
    after = described(_definitions([*sorted(SHIPPED.glob("*.yaml")), own]))
    added = {key for key in after["assets"] if key not in before["assets"]}
    assert {"own_domain/clean/chat", "own_domain/sft", "own_domain/registry"} <= added
    assert {key.partition("/")[0] for key in added} == {"own_domain"}
    assert "own_domain" in after["jobs"]
    assert after["schedules"]["own_domain_schedule"]["running"] is False


def test_two_recipes_of_one_name_are_refused_by_file(tmp_path: Path) -> None:
    files = [write_recipe(tmp_path / "one"), write_recipe(tmp_path / "two")]
    with pytest.raises(RecipeError, match="second recipe called 'tiny'") as raised:
        load_pipelines(files)
    assert str(files[1]) in str(raised.value)


def test_editing_a_stage_changes_the_code_version_of_that_stage_alone(tmp_path: Path) -> None:
    plain = _versions(write_recipe(tmp_path / "a"))
    beta = {"stages": {"dpo": {**_stage("dpo"), "beta": 0.3}}}
    changed = _versions(write_recipe(tmp_path / "b", **beta))
    assert {key for key in plain if plain[key] != changed[key]} == {"tiny/dpo"}


def test_editing_execution_changes_no_code_version(tmp_path: Path) -> None:
    execution = {"stages": {"dpo": {**_stage("dpo"), "execution": {"devices": 2, "micro_batch": 2}}}}
    assert _versions(write_recipe(tmp_path / "a")) == _versions(write_recipe(tmp_path / "b", **execution))


def described(definitions: dg.Definitions) -> dict[str, Any]:
    """Assets, jobs and schedules as JSON; code versions are left out, they are meant to change."""
    graph = definitions.resolve_asset_graph()
    assets = {}
    for key in sorted(graph.get_all_asset_keys()):
        node = graph.get(key)
        checks = [graph.get_check_spec(check) for check in sorted(node.check_keys)]
        assets[key.to_user_string()] = {
            "group": node.group_name,
            "kinds": sorted(node.kinds),
            "upstream": sorted(parent.to_user_string() for parent in node.parent_keys),
            "pools": sorted(node.pools or ()),
            "checks": {check.name: "blocking" if check.blocking else "warning" for check in checks},
            "observed": node.is_observable,
            "automatic": node.automation_condition is not None,
        }
    repository = definitions.get_repository_def()
    return {
        "assets": assets,
        "jobs": sorted(job.name for job in repository.get_all_jobs() if not job.name.startswith("__")),
        "schedules": {
            schedule.name: {
                "cron": schedule.cron_schedule,
                "running": schedule.default_status is dg.DefaultScheduleStatus.RUNNING,
            }
            for schedule in repository.schedule_defs
        },
    }


def _definitions(files: list[Path]) -> dg.Definitions:
    return build(load_pipelines(files), Path("home"))


def _versions(recipe: Path) -> dict[str, str | None]:
    graph = _definitions([recipe]).resolve_asset_graph()
    return {key.to_user_string(): graph.get(key).code_version for key in graph.get_all_asset_keys()}


def _stage(name: str) -> dict[str, Any]:
    from tests.assets.made_pipeline import FIELDS

    stage: dict[str, Any] = FIELDS["stages"][name]
    return stage


if __name__ == "__main__":
    snapshot = described(_definitions(sorted(SHIPPED.glob("*.yaml"))))
    _SNAPSHOT.write_text(json.dumps(snapshot, indent=1, sort_keys=True) + "\n", encoding="utf-8")
