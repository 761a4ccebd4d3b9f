"""A forced run makes an artefact again beside the old one, and never in the place of what a registered version has."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import dagster as dg
import pytest

from assets.making import Ended, make_by_job, plain_failures
from assets.tracking import Tracker
from evaluation.registry.promotion import champion
from jobs.job import Job
from lineage.store import Artifact, Store
from tests.evaluation.made_promotions import MODEL, decision, register, uri

_ROOT = Path(__file__).parents[2]
_TRAINING = """
import os, signal, sys
from pathlib import Path
from jobs.job import Job
job = Job.read(Path(sys.argv[1]))
with job.store.building(job.request) as work:
    (work / "model.safetensors").write_bytes(os.environ["WEIGHTS"].encode() * 1000)
    if os.environ.get("DIES"):
        os.kill(os.getpid(), signal.SIGKILL)
    for name, text in (("config.json", '{"dtype": "float32"}'), ("chat_template.jinja", "{{ messages }}")):
        (work / name).write_text(text, encoding="utf-8")
    (work / "adapter").mkdir()
    (work / "adapter" / "adapter_model.safetensors").write_bytes(b"a")
    (work / "training_args.bin").write_bytes(b"pickle")
    job.seal({})
"""
"""Seals what `tests.evaluation.made_promotions.checkpoint` does."""


class Training:
    """In the place of a launcher: a process that seals these weights, or dies before it does."""

    def __init__(self, weights: str, dies: bool = False) -> None:
        self._variables = {"WEIGHTS": weights, "DIES": "1" if dies else ""}
        self.runs = 0

    def run(self, context: dg.AssetExecutionContext, command: Sequence[str], *, grace_seconds: float) -> Ended:
        self.runs += 1
        own = [sys.executable, "-c", _TRAINING, command[-1]]
        done = subprocess.run(own, cwd=_ROOT, env={**os.environ, **self._variables}, capture_output=True, text=True)
        return Ended(done.returncode, done.stdout, done.stderr)


def make(home: Path, training: Training, *, force: bool = True) -> list[Artifact]:
    """The step of a stage whose weights are called `old`. Raises RuntimeError with the message of a dg.Failure."""
    store, made = Store(home), []
    job = Job(
        kind="dpo",
        recipe="demo",
        node="dpo",
        ref="dpo",
        home=home,
        payload={"node": "dpo", "weights": "old"},
        config={},
        execution={"grace_seconds": 1.0},
        inputs={},
    )

    @dg.asset
    def stage(context: dg.AssetExecutionContext) -> None:
        with plain_failures():
            made.append(make_by_job(context, store, Tracker(home), training, job, force=force))

    with dg.DagsterInstance.ephemeral() as instance:
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        result = dg.materialize([stage], instance=instance, run_config=quiet, raise_on_error=False)
        if result.success:
            return made
        failure = result.get_step_failure_events()[0].step_failure_data
        raise RuntimeError(failure.user_failure_data.description if failure.user_failure_data else str(failure.error))


@pytest.fixture
def promoted(home: Path) -> Artifact:
    """A checkpoint that a job made and that is champion."""
    (old,) = make(home, Training("old"), force=False)
    register(home, old, decision(old))
    return old


def weights(artifact: Artifact) -> str:
    return (artifact.path / "model.safetensors").read_bytes()[:3].decode()


def test_other_bytes_never_take_the_place_of_a_champion(home: Path, promoted: Artifact) -> None:
    with pytest.raises(RuntimeError) as refused:
        make(home, Training("new"))
    for said in (promoted.digest[:12], "other bytes", f"version 1 of {MODEL} rests on them", "its seed say"):
        assert said in str(refused.value)
    holder = champion(uri(home), home, MODEL)
    assert holder is not None and Store(home).open(home / holder.checkpoint_path).digest == promoted.digest
    assert weights(promoted) == "old"
    (reused,) = make(home, Training("new"), force=False)
    assert (reused.digest, reused.reused) == (promoted.digest, True)
    assert not list(promoted.path.parent.glob("*.again"))


def test_a_champion_made_again_with_the_same_bytes_stays_as_it_is(home: Path, promoted: Artifact) -> None:
    created = promoted.record["provenance"]
    training = Training("old")
    (made,) = make(home, training)
    assert (training.runs, made.digest, made.again) == (1, promoted.digest, "same bytes as before")
    assert promoted.record["provenance"] == created


def test_a_damaged_champion_gets_its_bytes_back(home: Path, promoted: Artifact) -> None:
    (promoted.path / "model.safetensors").write_bytes(b"new")
    (made,) = make(home, Training("old"))
    assert (made.digest, weights(made)) == (promoted.digest, "old")


def test_what_nothing_rests_on_is_replaced_once_the_new_one_is_sealed(home: Path) -> None:
    (old,) = make(home, Training("old"), force=False)
    with pytest.raises(RuntimeError, match="was killed"):
        make(home, Training("new", dies=True))
    assert Store(home).open(old.path).digest == old.digest and weights(old) == "old"
    (new,) = make(home, Training("new"))
    assert (new.path, weights(new), new.again) == (old.path, "new", "other bytes than before")
    found = Store(home).ref("demo", "dpo")
    assert found is not None and found.digest == new.digest
