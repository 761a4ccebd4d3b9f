"""The reference report asks ledger and registry who is champion, and says in one message where they differ."""

import shutil
from pathlib import Path

import dagster as dg

from assets.handles import Handles
from assets.making import asset_of
from assets.reports import Reference
from assets.tracking import Tracker
from evaluation.registry.registered import registry_client
from lineage.store import Request, Store
from tests.assets.made_pipeline import pipeline
from tests.evaluation.made_promotions import MODEL, checkpoint, crown, uri


def failure(home: Path) -> str:
    """How the step of the reference report fails: with a message for people, and not to be tried again."""
    store = Store(home)
    made = pipeline(home / "recipe", promotion={"registered_model": MODEL})
    for node in ("base", "dpo", "report/base"):
        store.build(Request("tiny", node, {"node": node}), _nothing, config={}, inputs={}, ref=node)
    resources = {"io_manager": Handles(store), "store": store, "tracker": Tracker(home), "launcher": _NONE}
    with dg.DagsterInstance.ephemeral() as instance:
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        asset = asset_of(made, Reference(made))
        result = dg.materialize(
            [asset, *(dg.AssetSpec(key) for key in asset.keys_by_input_name.values())],
            resources=resources,
            instance=instance,
            run_config=quiet,
            raise_on_error=False,
        )
        assert not any(event.is_step_up_for_retry for event in result.all_events)
        data = result.get_step_failure_events()[0].step_failure_data
    assert data.user_failure_data is not None and data.user_failure_data.description is not None, data.error
    return data.user_failure_data.description


def test_a_registry_that_differs_from_the_ledger_is_not_asked_who_is_champion(home: Path) -> None:
    crown(home, "old")
    registry_client(uri(home)).delete_registered_model_alias(MODEL, "champion")
    said = failure(home)
    assert said.startswith(f"{MODEL}: ledger and registry differ on the champion")
    assert f"set_registered_model_alias('{MODEL}', 'champion', '1')" in said


def test_a_folder_that_is_not_the_champions_checkpoint_any_more_is_not_scored_for_it(home: Path) -> None:
    (old,) = crown(home, "old")
    other = checkpoint(home, "another")
    for name in ("model.safetensors", ".record.json"):
        shutil.copy(other.path / name, old.path / name)
    said = failure(home)
    assert f"holds checkpoint {other.digest[:12]}" in said and f"as {old.digest[:12]}" in said


def _nothing(work: Path) -> dict[str, object]:
    (work / "nothing.txt").write_text("", encoding="utf-8")
    return {}


_NONE = dg.ResourceDefinition.none_resource()
