"""Which artefact feeds which asset: an override feeds its own run and nothing else."""

from pathlib import Path

import dagster as dg
import pytest

from assets.handles import ARTEFACT, Handles, delivered
from lineage.store import Artifact, Request, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


def _write(work: Path, learning_rate: float) -> dict[str, int]:
    return {"bytes": (work / "weights").write_text(str(learning_rate))}


def _materialize(store: Store, seen: list[Artifact], learning_rate: float, only: str | None = None) -> bool:
    class Launch(dg.Config):
        learning_rate: float

    @dg.asset(key=["tiny", "sft"], dagster_type=ARTEFACT)
    def sft(config: Launch) -> dg.MaterializeResult:
        overridden = config.learning_rate != 0.1
        request = Request("tiny", "sft", {"node": "sft", "lr": config.learning_rate}, overridden)
        made = store.build(
            request, lambda work: {"bytes": (work / "w").write_text(str(config.learning_rate))}, config={}, inputs={}
        )
        return delivered("other", made)

    @dg.asset(key=["tiny", "dpo"], ins={"start": dg.AssetIn(key=["tiny", "sft"])}, dagster_type=ARTEFACT)
    def dpo(start: Artifact) -> dg.MaterializeResult:
        seen.append(start)
        return delivered("other", start)

    config = {"ops": {"tiny__sft": {"config": {"learning_rate": learning_rate}}}} if only is None else {}
    result = dg.materialize(
        [sft, dpo],
        selection=dg.AssetSelection.assets(["tiny", only]) if only else None,
        run_config={**config, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        resources={"io_manager": Handles(store)},
        instance=dg.DagsterInstance.ephemeral(),
        raise_on_error=False,
    )
    return result.success


def test_an_override_feeds_its_own_run_and_no_other(store: Store) -> None:
    seen: list[Artifact] = []
    assert _materialize(store, seen, 0.1)
    assert _materialize(store, seen, 0.5)
    assert _materialize(store, seen, 0.1, only="dpo")
    assert [artifact.overridden for artifact in seen] == [False, True, False]
    assert seen[0].digest == seen[2].digest != seen[1].digest


def test_an_upstream_that_was_never_made_is_named(store: Store) -> None:
    assert not _materialize(store, [], 0.1, only="dpo")


def test_the_same_artefact_asked_for_by_the_recipe_later_is_canonical(store: Store) -> None:
    payload = {"node": "sft", "lr": 0.5}
    make = {"config": {}, "inputs": {}}
    store.build(Request("tiny", "sft", payload, overridden=True), lambda work: {}, **make)
    assert store.ref("tiny", "sft") is None
    again = store.build(Request("tiny", "sft", payload), lambda work: {}, **make)
    assert again.reused
    assert not again.overridden
    assert store.ref("tiny", "sft") == again


def test_an_artefact_that_fails_a_blocking_check_never_becomes_a_ref(store: Store) -> None:
    bad = {"checks": {"shares": {"passed": False, "blocking": True, "value": 0, "description": ""}}}
    store.build(Request("tiny", "mixture/mix", {"node": "mixture"}), lambda work: bad, config={}, inputs={})
    assert store.ref("tiny", "mixture/mix") is None
