"""The parent's side of MLflow, on a real sqlite store."""

from types import SimpleNamespace
from typing import Any, cast

import dagster as dg
import pytest

from assets.tracking import Tracker
from lineage.store import Request
from tests.source_texts import NASTY, texts

_REQUEST = Request("tiny", "sft", {"node": "sft", "lr": 0.1})
_DIGEST = "d" * 64


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Tracker:
    return Tracker(tmp_path_factory.mktemp("home"))


def _context(run_id: str) -> dg.AssetExecutionContext:
    """The three facts that tracking reads from a step."""
    facts = SimpleNamespace(run_id=run_id, job_name="tiny", asset_key=dg.AssetKey(["tiny", "sft"]))
    return cast(dg.AssetExecutionContext, facts)


def _track(tracker: Tracker, run_id: str, request: Request = _REQUEST, error: BaseException | None = None) -> str:
    with tracker.run(_context(run_id), request, config={"lr": 0.1}, inputs={"mixture": _DIGEST}) as run:
        run.log({"wall_s": 2.0, "nested": {"share general": 0.6}, "kind": "sft"})
        if error is not None:
            raise error
    return run.run_id


def _run(tracker: Tracker, run_id: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracker.uri).get_run(run_id)


def test_a_run_lies_under_one_parent_of_its_dagster_run(tracker: Tracker) -> None:
    one = _run(tracker, _track(tracker, "r1", Request("tiny", "sft", {"node": "sft", "lr": 1})))
    two = _run(tracker, _track(tracker, "r1", Request("tiny", "dpo", {"node": "dpo", "lr": 1})))
    parent = _run(tracker, one.data.tags["mlflow.parentRunId"])
    assert two.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert {run.info.status for run in (one, two, parent)} == {"FINISHED"}
    assert one.data.tags["dagster.run_id"] == "r1"
    assert one.data.tags["dagster.asset_key"] == "tiny/sft"
    assert one.data.tags["dagster.url"].endswith("/runs/r1")
    assert one.data.metrics == {"wall_s": 2.0, "nested.share general": 0.6}


def test_inputs_are_datasets_with_their_whole_digest(tracker: Tracker) -> None:
    run = _run(tracker, _track(tracker, "r2", Request("tiny", "sft", {"node": "sft", "lr": 2})))
    [given] = run.inputs.dataset_inputs
    assert {tag.key: tag.value for tag in given.tags}["sha256"] == _DIGEST


@pytest.mark.parametrize(
    ("error", "status"),
    [(ValueError("no"), "FAILED"), (dg.DagsterExecutionInterruptedError(), "KILLED")],
)
def test_a_run_always_ends_and_the_next_attempt_goes_on_with_it(
    tracker: Tracker, error: BaseException, status: str
) -> None:
    request = Request("tiny", "sft", {"node": "sft", "attempt": status})
    with pytest.raises(type(error)):
        _track(tracker, f"first {status}", request, error)
    url = tracker.url(request.fingerprint)
    assert url is not None
    run_id = url.rpartition("/")[2]
    assert _run(tracker, run_id).info.status == status
    assert _track(tracker, f"second {status}", request) == run_id
    again = _run(tracker, run_id)
    assert again.info.status == "FINISHED"
    assert again.data.tags["dagster.run_id"] == f"second {status}"


def test_a_finished_run_is_not_written_to_again(tracker: Tracker) -> None:
    request = Request("tiny", "sft", {"node": "sft", "forced": True})
    assert _track(tracker, "r3", request) != _track(tracker, "r4", request)


def test_every_reason_check_and_metric_that_the_code_can_name_reaches_the_run(tracker: Tracker) -> None:
    named = sorted(texts("corpora", "training", "evaluation", "assets") | set(NASTY))
    numbers = {text: number for number, text in enumerate(named)}
    inputs = {f"phrases/{text}": _DIGEST for text in NASTY}
    with tracker.run(
        _context("r5"),
        Request("tiny", "x", {"node": "x"}),
        config={"columns": dict.fromkeys(NASTY, "it's")},
        inputs=inputs,
    ) as run:
        run.log({"quarantine_reasons": numbers})
    found = _run(tracker, run.run_id)
    assert sorted(found.data.metrics.values()) == list(range(len(named)))
    assert len(found.data.params) == len(NASTY)
    assert len(found.inputs.dataset_inputs) == len(NASTY)


def test_what_a_dagster_run_left_open_when_it_died_is_closed_and_nothing_else(tracker: Tracker) -> None:
    dead, living = (Request("tiny", "sft", {"node": "sft", "lr": lr}) for lr in (71, 72))
    with (
        tracker.run(_context("dead"), dead, config={}, inputs={}) as left,
        tracker.run(_context("living"), living, config={}, inputs={}) as other,
    ):
        tracker.end_open_runs("dead")
        closed = _run(tracker, left.run_id)
        assert closed.info.status == "KILLED"
        assert _run(tracker, closed.data.tags["mlflow.parentRunId"]).info.status == "KILLED"
        assert _run(tracker, other.run_id).info.status == "RUNNING"
