"""Scores over time: read from sealed records and the ledger, drawn, and findable in MLflow."""

from pathlib import Path
from typing import Any

from assets.reports import scores_over_time
from evaluation.pages.history import history
from evaluation.registry.ledger import Ledger
from evaluation.registry.promotion import registry_client
from evaluation.registry.registered import record_scores
from evaluation.report import write_report
from jobs.job import Tracking
from jobs.logged_models import has_files
from jobs.mlflow_store import experiment_id
from jobs.run_log import run_log
from lineage.store import Artifact, Request, Store
from tests.assets.made_pipeline import pipeline
from tests.evaluation.made_promotions import checkpoint, decision, register, uri
from tests.evaluation.made_reports import report, samples


def sealed_report(store: Store, recipe: str, scored: str, right: int, suite: str = "suite") -> Artifact:
    """A checkpoint `scored` of the recipe, and its sealed report with so many of ten right."""
    made = Request(recipe, "sft", {"checkpoint": scored})
    with store.building(made) as work:
        (work / "model.safetensors").write_bytes(scored.encode())
        maker = store.seal(made, config={}, metrics={}, inputs={})
    request = Request(recipe, "report", {"scored": scored, "suite": suite})
    with store.building(request) as work:
        found = report(scored, samples("sums/accuracy", [1] * right + [0] * (10 - right)), suite={"digest": suite})
        write_report(work, found)
        results = {"results": found.results}
        return store.seal(request, config={}, metrics=results, inputs={"checkpoint": maker.digest})


def committed(home: Path, model: str, digest: str) -> None:
    ledger = Ledger(home / "ledger" / f"{model}.jsonl")
    facts: dict[str, Any] = {"verdict": "pass", "reasons": [], "champion_before": None, "previous_before": None}
    ledger.append("committed", version="1", checkpoint_digest=digest, decision_digest="d", **facts)


def test_every_checkpoint_of_a_suite_is_there_and_the_champions_are_marked(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first, second, _ = (sealed_report(store, "tiny", name, right) for name, right in (("a", 2), ("b", 5), ("c", 8)))
    sealed_report(store, "tiny", "d", 9, suite="another")
    for artifact in (first, second):
        committed(tmp_path, "tiny", artifact.record["inputs"]["checkpoint"])
    found = history(tmp_path, "tiny", "tiny", "suite")
    assert found.other_suites == 1
    assert {one.node for one in found.scored} == {"sft"}
    by_score = {one.results["sums/accuracy"]["mean"]: (one.champion, one.was_champion) for one in found.scored}
    assert by_score == {0.2: (False, True), 0.5: (True, True), 0.8: (False, False)}


def test_the_picture_is_in_the_metadata_itself(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    artifact = sealed_report(store, "tiny", "a", 4)
    shown = scores_over_time(pipeline(tmp_path), store, artifact)["scores_over_time"]
    assert shown.startswith("![scores over time](data:image/svg+xml;base64,")
    assert "| sft `" in shown and "40.0%" in shown


def test_a_registered_checkpoint_is_found_by_its_scores(home: Path) -> None:
    candidate = checkpoint(home)
    promoted = register(home, candidate, decision(candidate))
    client = registry_client(uri(home))
    scored = report("dpo", samples("sums/accuracy", [1] * 3 + [0]))
    for _ in range(2):
        record_scores(client, uri(home), home, candidate.recipe, promoted.source, scored)
    (experiment,) = (e for e in client.search_experiments() if e.name == f"temper/{candidate.recipe}")
    ids = [experiment.experiment_id]
    (model,) = client.search_logged_models(ids, "metrics.`sums/accuracy` > 0.7")
    assert promoted.source.endswith(model.model_id)
    assert not client.search_logged_models(ids, "metrics.`sums/accuracy` > 0.8")
    assert sorted(metric.key for metric in model.metrics) == ["sums/accuracy", "sums/accuracy_se"]
    assert len(client.search_runs(ids, f"tags.report_id = '{scored.report_id}'")) == 1


def test_a_checkpoint_that_was_only_scored_is_found_too_and_gets_its_files_when_it_is_registered(home: Path) -> None:
    scored = checkpoint(home)
    client = registry_client(uri(home))
    experiment = experiment_id(uri(home), f"temper/{scored.recipe}", home)
    run = client.create_run(experiment)
    for mean in (0.75, 0.0):  # the second time is a repetition
        with run_log(Tracking(uri=uri(home), run_id=run.info.run_id)) as log:
            log.scores(scored, {"sums/accuracy": mean}, {"sums": "0" * 64})
    (model,) = client.search_logged_models([experiment], "metrics.`sums/accuracy` > 0.7")
    assert not has_files(model)
    promoted = register(home, scored, decision(scored))
    assert promoted.source.endswith(model.model_id)
    assert has_files(client.get_logged_model(model.model_id))
