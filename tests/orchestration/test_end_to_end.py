"""The whole graph of a small recipe on a tiny random model: real processes, a real instance, a real registry.

The tests are steps of one story and build on one state: a first run, nothing to do, an edited recipe, a
launch override, an edited source.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lineage.store import Artifact, Store
from tests.assets.made_pipeline import FIELDS, write_recipe
from tests.tiny import conversation

_ROOT = Path(__file__).parent.parent.parent
_REPORTS = {"evaluation": {**FIELDS["evaluation"], "reports": ["base", "dpo"]}}


class State:
    """A recipe folder and the state that its runs write."""

    def __init__(self, folder: Path, base: Path) -> None:
        self.folder, self.home = folder, folder / "home"
        self.store = Store(self.home)
        folder.mkdir(exist_ok=True)
        (folder / "model").symlink_to(base)
        self.write_chat(60)
        pairs = [{"prompt": a["content"], "chosen": b["content"], "rejected": "No."} for a, b in _talks(24, 500)]
        _write_lines(folder / "pairs.jsonl", pairs)
        self.recipe = write_recipe(folder, **_REPORTS)

    def write_chat(self, rows: int) -> None:
        talks = [{"instruction": a["content"], "input": "", "output": b["content"]} for a, b in _talks(rows, 0)]
        _write_lines(self.folder / "chat.jsonl", talks)

    def run(self, *arguments: str) -> "Outcome":
        """`python -m orchestration run`; fails the test if the run fails."""
        before = self._job_files()
        command = [sys.executable, "-m", "orchestration", "run", str(self.recipe), *arguments]
        environment = {**os.environ, "TEMPER_HOME": str(self.home), "OMP_NUM_THREADS": "1"}
        began = time.monotonic()
        done = subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        after = self._job_files()
        jobs = sorted(path.parent.name for path in after if after[path] != before.get(path))
        return Outcome(done.stdout, jobs, time.monotonic() - began)

    def ref(self, node: str) -> Artifact:
        artifact = self.store.ref("tiny", node)
        assert artifact is not None
        return artifact

    def _job_files(self) -> dict[Path, int]:
        """Every job that was ever started, with when that was last."""
        return {path: path.stat().st_mtime_ns for path in self.home.glob("objects/**/*.job.json")}


class Outcome:
    """What a run printed, the nodes whose job processes it started, its seconds."""

    def __init__(self, printed: str, jobs: list[str], seconds: float) -> None:
        self.printed, self.jobs, self.seconds = printed, jobs, seconds

    def nodes(self, how: str) -> set[str]:
        """Nodes that the progress display reported as `done` or `reused`."""
        lines = [line.split() for line in self.printed.splitlines()]
        return {words[1] for words in lines if len(words) > 2 and words[2] == how and ":" in words[0]}


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> State:
    return State(tmp_path_factory.mktemp("story") / "recipes", tiny_base)


@pytest.fixture(scope="module")
def first(state: State) -> Outcome:
    return state.run()


def test_the_first_run_makes_everything_and_says_what_it_came_to(state: State, first: Outcome) -> None:
    assert first.jobs == ["base", "dpo", "report", "report", "sft"]
    for said in ("Verdict", "Registry tiny version 1", "sums/accuracy", "report.html", "http://127.0.0.1:5000"):
        assert said in first.printed
    assert (state.ref("decision").path / "report.html").is_file()
    assert state.ref("report/reference") == state.ref("report/base")


def test_every_declared_check_passed_and_every_reported_one_is_declared(state: State, first: Outcome) -> None:
    from assets.checks import DECLARED

    kinds = {"clean/chat": "clean", "mixture/mix": "mixture", "preferences/judged": "preferences"}
    kinds |= {"base": "base", "sft": "sft", "dpo": "dpo", "report/dpo": "report"}
    for node, kind in kinds.items():
        reported = state.ref(node).metrics["checks"]
        assert set(reported) <= set(DECLARED[kind]), node
        assert set(DECLARED[kind]) - set(reported) <= {"merged_equals_adapter"}, node


def test_mlflow_has_one_finished_run_for_each_artefact_under_one_parent(state: State, first: Outcome) -> None:
    runs = _mlflow_runs(state)
    parents = [run for run in runs if run.data.tags["temper.kind"] == "pipeline"]
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    assert len(parents) == 1
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert sorted(run.data.tags["dagster.asset_key"] for run in children) == sorted(
        f"tiny/{node}"
        for node in (
            *("clean/chat", "clean/sums", "clean/pairs", "base", "mixture/mix", "preferences/judged"),
            *("sft", "dpo", "report/base", "report/dpo", "decision"),
        )
    )


def test_a_second_run_reuses_everything_and_starts_no_job(state: State, first: Outcome) -> None:
    tracked = len(_mlflow_runs(state))
    second = state.run()
    assert second.jobs == []
    assert second.nodes("done") == {"raw", "registry"}
    assert len(second.nodes("reused")) == 12
    assert second.seconds < first.seconds
    assert len(_mlflow_runs(state)) == tracked
    assert "Registry tiny version 1" in second.printed


def test_another_beta_makes_dpo_and_what_follows_again(state: State, first: Outcome) -> None:
    write_recipe(state.folder, **_REPORTS, stages={"dpo": {**FIELDS["stages"]["dpo"], "beta": 0.3, "max_steps": 1}})
    changed = state.run()
    assert changed.jobs == ["dpo", "report"]
    assert changed.nodes("done") == {"raw", "dpo", "report/dpo", "decision", "registry"}


def test_an_override_has_its_own_artefact_and_is_not_promoted(state: State, first: Outcome) -> None:
    canonical, decided = state.ref("dpo"), state.ref("decision")
    outcome = state.run("--select", "dpo+", "--set", "dpo.beta=0.7", "dpo.max_steps=1")
    assert outcome.jobs == ["dpo", "report"]
    assert state.ref("dpo") == canonical
    assert state.ref("decision") == decided
    assert "trained with launch overrides" in outcome.printed
    assert "champion" not in outcome.printed.partition("Registry tiny")[2]


def test_an_edited_source_makes_its_corpus_and_mixture_again(state: State, first: Outcome) -> None:
    mixture = state.ref("mixture/mix").digest
    state.write_chat(61)
    edited = state.run("--select", "clean/chat", "clean/pairs", "mixture/mix", "preferences/judged")
    assert edited.nodes("done") == {"clean/chat", "mixture/mix"}
    assert edited.nodes("reused") == {"clean/pairs", "preferences/judged"}
    assert state.ref("mixture/mix").digest != mixture


def test_a_mistake_is_one_message_without_a_traceback(state: State) -> None:
    command = [sys.executable, "-m", "orchestration", "run", str(state.recipe), "--set", "dpo.betta=1"]
    environment = {**os.environ, "TEMPER_HOME": str(state.home)}
    done = subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "stages.dpo.betta: unknown key; did you mean 'beta'?" in done.stderr
    assert "Traceback" not in done.stderr


def _talks(count: int, seed: int) -> list[list[dict[str, str]]]:
    return [conversation(seed + index) for index in range(count)]


def _write_lines(path: Path, rows: list[Any]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _mlflow_runs(state: State) -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{state.home / 'mlflow' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("temper/tiny")
    return list(client.search_runs([experiment.experiment_id]))
