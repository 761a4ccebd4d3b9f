"""The whole graph of a small recipe on a tiny random model: real processes, a real instance, a real registry.

The tests are steps of one story and build on one state: a first run, nothing to do, an edited recipe, a launch
override, an edited source.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from assets.checks import declared
from tests.assets.made_pipeline import FIELDS, write_recipe
from tests.orchestration.project import REPORTS, Outcome, Project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Project:
    return Project(tmp_path_factory.mktemp("story"), tiny_base)


@pytest.fixture(scope="module")
def first(project: Project) -> Outcome:
    return project.run()


def test_the_first_run_makes_everything_and_says_what_it_came_to(project: Project, first: Outcome) -> None:
    assert first.jobs == ["base", "dpo", "report", "report", "sft"]
    for said in ("Verdict", "Registry tiny version 1", "sums/accuracy", "report.html", "http://127.0.0.1:5000"):
        assert said in first.printed
    assert (project.ref("decision").path / "report.html").is_file()
    assert project.ref("report/reference") == project.ref("report/base")


def test_every_declared_check_passed_and_every_reported_one_is_declared(project: Project, first: Outcome) -> None:
    kinds = {"clean/chat": "clean", "mixture/mix": "mixture", "preferences/judged": "preferences"}
    kinds |= {"base": "base", "sft": "sft", "dpo": "dpo", "report/dpo": "report"}
    for node, kind in kinds.items():
        reported = project.ref(node).metrics["checks"]
        assert set(reported) <= set(declared(kind)), node
        elsewhere = {"frozen_unmoved", "adapter_whole", "merged_equals_adapter", "rows_apart"}  # adapters, packing
        elsewhere |= {"weighed_as_rows_say"}  # rows with weights of their own
        assert set(declared(kind)) - set(reported) <= elsewhere, node


def test_mlflow_has_one_finished_run_for_each_artefact_under_its_parent(project: Project, first: Outcome) -> None:
    runs = _mlflow_runs(project)
    parents = [run for run in runs if run.data.tags["temper.kind"] == "pipeline"]
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    assert len(parents) == len({run.data.tags["dagster.run_id"] for run in parents})
    assert {run.info.status for run in children} == {"FINISHED"}
    assert sorted(run.data.tags["dagster.asset_key"] for run in children) == sorted(
        f"tiny/{node}"
        for node in (
            *("evaluation_items", "clean/chat", "clean/sums", "clean/pairs", "distinct"),
            *("base", "mixture/mix", "preferences/judged"),
            *("sft", "dpo", "report/base", "report/dpo", "decision"),
        )
    )


def test_mlflow_finds_every_scored_checkpoint_by_its_scores(project: Project, first: Outcome) -> None:
    client, experiment = _mlflow(project)
    found = client.search_logged_models([experiment], "metrics.`sums/accuracy` >= 0")
    scored = {model.tags["temper.checkpoint_digest"] for model in found}
    assert scored == {project.ref(node).digest for node in ("base", "dpo")}


def test_a_second_run_reuses_everything_and_starts_no_job(project: Project, first: Outcome) -> None:
    tracked = len(_mlflow_runs(project))
    second = project.run()
    assert second.jobs == []
    assert second.nodes("done") == {"raw", "registry"}
    assert len(second.nodes("reused")) == 14
    assert second.seconds < first.seconds
    assert len(_mlflow_runs(project)) == tracked
    assert "Registry tiny version 1" in second.printed


def test_a_program_reads_what_a_run_came_to(project: Project, first: Outcome) -> None:
    said = json.loads(project.run("--select", "decision", "--json").printed)
    assert said["success"] and [(node["node"], node["outcome"]) for node in said["nodes"]] == [("decision", "reused")]
    assert said["decision"]["verdict"] and Path(said["page"]).is_file() and set(said["scores"]) == {"base", "dpo"}
    assert said["registry"] == {"registered_model": "tiny", "version": "1", "aliases": said["registry"]["aliases"]}


def test_a_forced_run_makes_what_is_registered_again_and_leaves_it_where_it_is(
    project: Project, first: Outcome
) -> None:
    nodes = ("dpo", "decision")
    before = [(project.ref(node), project.ref(node).record["provenance"]) for node in nodes]
    forced = project.run("--select", "dpo", "decision", "registry", "--force")
    assert forced.jobs == ["dpo"]
    assert forced.printed.count("same bytes as before") == len(nodes)
    assert [(project.ref(node), project.ref(node).record["provenance"]) for node in nodes] == before
    assert "Registry tiny version 1" in forced.printed


def test_another_beta_makes_dpo_and_what_follows_again(project: Project, first: Outcome) -> None:
    write_recipe(project.folder, **REPORTS, stages={"dpo": {**FIELDS["stages"]["dpo"], "beta": 0.3, "max_steps": 1}})
    changed = project.run()
    assert changed.jobs == ["dpo", "report"]
    assert changed.nodes("done") == {"raw", "dpo", "report/dpo", "decision", "registry"}


def test_an_override_has_its_own_artefact_and_is_not_promoted(project: Project, first: Outcome) -> None:
    canonical, decided = project.ref("dpo"), project.ref("decision")
    outcome = project.run("--select", "dpo+", "--set", "dpo.beta=0.7", "dpo.max_steps=1")
    assert outcome.jobs == ["dpo", "report"]
    assert project.ref("dpo") == canonical
    assert project.ref("decision") == decided
    assert "trained with launch overrides" in outcome.printed
    assert "champion" not in outcome.printed.partition("Registry tiny")[2]


def test_an_edited_source_makes_its_corpus_and_everything_after_it_again(project: Project, first: Outcome) -> None:
    mixture = project.ref("mixture/mix").digest
    project.write_chat(61)
    edited = project.run()
    assert project.ref("mixture/mix").digest != mixture
    assert edited.jobs == ["dpo", "report", "sft"]
    assert edited.nodes("done") >= {"clean/chat", "mixture/mix", "sft", "dpo", "report/dpo", "decision", "registry"}
    assert edited.nodes("reused") >= {"clean/pairs", "clean/sums", "preferences/judged", "base", "report/base"}


def _mlflow_runs(project: Project) -> list[Any]:
    client, experiment = _mlflow(project)
    return list(client.search_runs([experiment]))


def _mlflow(project: Project) -> tuple[Any, str]:
    """A client, and the id of the recipe's experiment."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{project.home / 'mlflow' / 'mlflow.db'}")
    return client, client.get_experiment_by_name("temper/tiny").experiment_id
