"""Answers are given once: a killed evaluation goes on at the sample, a repeated one computes nothing."""

import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from evaluation import runner
from evaluation.report import Report
from jobs.job import Job, JobInput
from lineage.store import Store
from models.answered import Answered
from models.answering import LoadedModel, generate
from models.local import load_model
from recipes.errors import DONE, INTERRUPTED
from tests.evaluation.made_suite import evaluation, job, sealed_checkpoint, write_data

TASKS = ("follow", "facts", "sums")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_data(folder)
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


@pytest.fixture
def checkpoint(store: Store, tiny_base: Path) -> JobInput:
    return sealed_checkpoint(store, tiny_base)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with each forward pass of the models that jobs load."""
    counted: list[int] = []

    def counting(*arguments: Any) -> LoadedModel:
        loaded = load_model(*arguments)
        loaded.model.register_forward_hook(lambda *_: counted.append(1))
        return loaded

    monkeypatch.setattr(runner, "load_model", counting)
    return counted


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_evaluation_made_again_computes_nothing(
    store: Store, checkpoint: JobInput, data: Path, passes: list[int], dtype: str
) -> None:
    made = job(store, checkpoint, evaluation(TASKS, dtype=dtype), data)
    first = _report_id(made)
    assert passes
    shutil.rmtree(store.object_path(made.request))
    passes.clear()
    assert _report_id(made) == first
    assert not passes


def test_more_items_compute_only_what_is_new(store: Store, checkpoint: JobInput, data: Path, passes: list[int]) -> None:
    fewer = evaluation(("sums",)).model_dump(mode="json")["tasks"]
    fewer["sums"]["limit"] = 4
    _report_id(job(store, checkpoint, evaluation(tasks=fewer), data))
    known = len(passes)
    passes.clear()
    _report_id(job(store, checkpoint, evaluation(("sums",)), data))
    assert 0 < len(passes) < known


@pytest.mark.parametrize("seed", range(2))
def test_stopped_at_random_samples_it_ends_in_the_same_report(
    store: Store, checkpoint: JobInput, data: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    made = job(store, checkpoint, evaluation(TASKS, batch_size=2), data)
    uninterrupted = _report_id(made)
    shutil.rmtree(store.object_path(made.request))
    shutil.rmtree(Path(made.config["cache"]) / "answers")
    moments, stop = random.Random(seed), threading.Event()

    class Stopping(runner.Progress):
        def update(self, done: int, **values: float) -> None:
            if moments.random() < 0.1:
                stop.set()

    monkeypatch.setattr(runner, "Progress", Stopping)
    stops = 0
    while (status := runner.run(made, stop)) == INTERRUPTED:
        stop.clear()
        stops += 1
    assert status == DONE and stops
    assert _report_id(made) == uninterrupted


def test_a_killed_process_loses_no_answer_that_it_gave(
    store: Store, checkpoint: JobInput, data: Path, passes: list[int]
) -> None:
    tasks = evaluation(("follow",)).model_dump(mode="json")["tasks"]
    tasks["follow"]["max_new_tokens"] = 150
    made = job(store, checkpoint, evaluation(tasks=tasks, batch_size=1), data)
    folder = Path(made.config["cache"]) / "answers"
    command = [sys.executable, "-m", "evaluation", str(made.write())]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True) as process:
        while not (given := _given(folder)) and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert given and store.find(made.request) is None
    resumed = _report_id(made)
    assert len(passes) <= 150 * (4 - given)
    shutil.rmtree(store.object_path(made.request))
    shutil.rmtree(folder)
    assert _report_id(made) == resumed


def test_another_limit_another_checkpoint_and_another_dtype_are_other_questions(
    tiny_base: Path, tmp_path: Path
) -> None:
    import dataclasses

    loaded = load_model(tiny_base, "float32", 2)
    first = dataclasses.replace(loaded, answered=Answered.of(tmp_path, "a", "float32", "cpu"))
    assert first.answered is not None
    short = generate(first, ["One", "Two more"], 3, lambda done: None)
    assert generate(first, ["Two more", "One"], 3, lambda done: None) == short[::-1]
    assert first.answered.found == 2
    generate(first, ["One"], 4, lambda done: None)
    assert first.answered.found == 2
    for other in (Answered.of(tmp_path, "b", "float32", "cpu"), Answered.of(tmp_path, "a", "bfloat16", "cpu")):
        generate(dataclasses.replace(loaded, answered=other), ["One"], 3, lambda done: None)
        assert other.found == 0


def _report_id(made: Job) -> str:
    """Of the sealed report, made first if it is not there."""
    assert runner.run(made, threading.Event()) == DONE
    found = made.store.find(made.request)
    assert found is not None
    return Report.load(found.path).report_id


def _given(folder: Path) -> int:
    """Answers in the files of a folder."""
    total = 0
    for file in folder.glob("*.sqlite"):
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as database:
            try:
                total += database.execute("select count(*) from answers").fetchone()[0]
            except sqlite3.OperationalError:  # its table is being made
                continue
    return total
