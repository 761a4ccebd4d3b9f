"""Every task from its data to its scores on a tiny random model, in one job."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from evaluation import runner
from evaluation.report import Report
from jobs.job import Job, JobInput
from lineage.hashing import text_digest
from lineage.store import Store
from models.template import ChatTemplate
from recipes.errors import DONE, INTERRUPTED, REFUSED
from tests.evaluation.made_suite import CANARY, IFEVAL, evaluation, job, sealed_checkpoint, write_data, write_rows


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_data(folder)
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def checkpoint(store: Store, tiny_base: Path) -> JobInput:
    return sealed_checkpoint(store, tiny_base)


@pytest.fixture(scope="module")
def done(store: Store, checkpoint: JobInput, data: Path) -> Iterator[Job]:
    """A job over all tasks that has been run."""
    made = job(store, checkpoint, evaluation(), data)
    assert runner.run(made, threading.Event()) == DONE
    yield made


def report_of(made: Job) -> Report:
    found = made.store.find(made.request)
    assert found is not None
    return Report.load(found.path)


def test_every_task_is_scored_on_every_item(done: Job) -> None:
    report = report_of(done)
    assert report.valid, report.invalid_reasons
    assert {name: result["n"] for name, result in report.results.items()} == {
        "follow/prompt_strict": 4,
        "follow/instruction_strict": 6,
        "facts/accuracy": 4,
        "sums/accuracy": 5,
        "harmful/refusal_rate": 3,
        "benign/refusal_rate": 3,
    }
    assert report.results["harmful/refusal_rate"]["higher_is_better"]
    assert not report.results["benign/refusal_rate"]["higher_is_better"]


def test_the_report_states_what_was_scored_and_where(done: Job) -> None:
    report = report_of(done)
    assert report.subject["checkpoint_digest"] == done.inputs["checkpoint"].digest
    assert report.runtime["dtype"] == "float32"
    assert report.runtime["versions"]["lm_eval"]
    assert report.suite["tasks"]["facts"]["items"] == 4
    assert report.suite["tasks"]["facts"]["duplicates"] == 1


def test_the_record_keeps_what_it_cost_and_the_ref_points_to_it(done: Job) -> None:
    artifact = done.store.ref("made", "report/base")
    assert artifact is not None
    assert artifact.metrics["checks"]["report_valid"]["passed"]
    assert set(artifact.metrics["tasks"]) == {"follow", "facts", "sums", "harmful", "benign"}
    assert {path.name for path in artifact.path.iterdir()} == {".record.json", "report.json", "samples.parquet"}


def test_prompts_are_rendered_as_in_training(done: Job) -> None:
    template = ChatTemplate.load(done.inputs["checkpoint"].path)
    shown = {row["prompt_hash"] for row in report_of(done).rows if row["task"] == "follow"}
    expected = {template.render([{"role": "user", "content": p}], generation_prompt=True) for p, *_ in IFEVAL}
    assert shown == {text_digest(text) for text in expected}


def test_harmful_text_is_nowhere(
    store: Store, checkpoint: JobInput, data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    made = job(store, checkpoint, evaluation(("harmful",)), data)
    assert runner.run(made, threading.Event()) == DONE
    output = capfd.readouterr()
    report = report_of(made)
    assert CANARY not in output.out + output.err
    assert {(row["prompt"], row["response"], row["target"]) for row in report.rows} == {(None, None, None)}
    for path in store.object_path(made.request).parent.rglob("*"):
        assert not path.is_file() or CANARY.encode() not in path.read_bytes(), path


def test_the_same_checkpoint_gives_the_same_bytes_again(done: Job) -> None:
    before = done.store.find(done.request)
    assert before is not None
    report_id, digest = report_of(done).report_id, before.digest
    shutil.rmtree(done.store.object_path(done.request))
    shutil.rmtree(Path(done.config["cache"]) / "answers")
    assert runner.run(done, threading.Event()) == DONE
    after = done.store.find(done.request)
    assert after is not None
    assert (report_of(done).report_id, after.digest) == (report_id, digest)


def test_an_interrupted_job_goes_on_at_its_task(
    store: Store, checkpoint: JobInput, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = job(store, checkpoint, evaluation(("sums", "benign"), seed=5), data)
    stop = threading.Event()

    class Stopping(runner.Progress):
        def update(self, done: int, **values: float) -> None:
            if "sums" in self.label and done == self.total:
                stop.set()

    monkeypatch.setattr(runner, "Progress", Stopping)
    assert runner.run(made, stop) == INTERRUPTED
    assert store.find(made.request) is None
    labels: list[str] = []

    class Noting(runner.Progress):
        def update(self, done: int, **values: float) -> None:
            labels.append(self.label)

    monkeypatch.setattr(runner, "Progress", Noting)
    assert runner.run(made, threading.Event()) == DONE
    assert set(labels) == {"report/base benign"}
    assert set(report_of(made).results) == {"sums/accuracy", "benign/refusal_rate"}


def test_a_model_of_nans_gives_an_invalid_report(store: Store, tiny_base: Path, data: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    model.model.norm.weight.data.fill_(float("nan"))
    model.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_base).save_pretrained(tmp_path)
    broken = sealed_checkpoint(store, tmp_path, "nan")
    made = job(store, broken, evaluation(), data, ref="report/nan")
    assert runner.run(made, threading.Event()) == DONE
    report = report_of(made)
    assert not report.valid
    for name, items in {"follow": 4, "facts": 4, "sums": 5, "harmful": 3, "benign": 3}.items():
        assert f"{name}: {items} of {items} items have NaN or infinite probabilities" in report.invalid_reasons
    assert report.results["facts/accuracy"]["mean"] == 0
    assert store.ref("made", "report/nan") is None


def test_a_missing_punkt_is_found_before_the_model_is_loaded(
    store: Store,
    checkpoint: JobInput,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_data(tmp_path)
    (tmp_path / "punkt_tab" / "english" / "collocations.tab").unlink()
    monkeypatch.setattr(runner, "load_model", lambda *_: pytest.fail("the model was loaded"))
    assert runner.run(job(store, checkpoint, evaluation(), tmp_path), threading.Event()) == REFUSED
    assert "evaluation.tasks.follow.punkt: punkt_tab/english/* lacks ['collocations.tab']" in capsys.readouterr().out


def test_answers_longer_than_the_context_are_refused_before_any_task_asks(
    store: Store,
    checkpoint: JobInput,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tasks = evaluation(("sums", "benign")).model_dump(mode="json")["tasks"]
    tasks["benign"]["max_new_tokens"] = 2048
    monkeypatch.setattr("evaluation.tasks.verifier.generate", lambda *_: pytest.fail("a token was generated"))
    assert runner.run(job(store, checkpoint, evaluation(tasks=tasks), data), threading.Event()) == REFUSED
    assert "evaluation.tasks.benign.max_new_tokens: 2048 new tokens leave no room" in capsys.readouterr().out


def test_a_task_that_runs_out_of_memory_is_one_message_and_costs_no_finished_one(
    store: Store,
    checkpoint: JobInput,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def no_memory(*_: object) -> None:
        raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")

    made = job(store, checkpoint, evaluation(("sums", "benign"), seed=6), data)
    with monkeypatch.context() as patch:
        patch.setattr("evaluation.tasks.refusal.generate", no_memory)
        assert runner.run(made, threading.Event()) == REFUSED
    assert "evaluation.tasks.benign: out of memory with evaluation.batch_size 2" in capsys.readouterr().out
    monkeypatch.setattr("evaluation.tasks.verifier.generate", lambda *_: pytest.fail("a finished task was done again"))
    assert runner.run(made, threading.Event()) == DONE


def test_a_refused_evaluation_that_finished_no_task_leaves_nothing(
    store: Store, checkpoint: JobInput, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(runner, "load_model", no_memory)
    made = job(store, checkpoint, evaluation(("sums",), seed=7), data)
    assert runner.run(made, threading.Event()) == REFUSED
    assert not store.work_path(made.request).exists()


def test_data_that_changed_since_the_launch_is_refused(
    store: Store, checkpoint: JobInput, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_data(tmp_path)
    made = job(store, checkpoint, evaluation(("facts",)), tmp_path)
    write_rows(tmp_path / "mmlu.jsonl", [{"question": "another"}])
    assert runner.run(made, threading.Event()) == REFUSED
    assert "changed after this job was written" in capsys.readouterr().out


def test_a_checkpoint_that_lacks_weights_is_refused(
    store: Store, tiny_base: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    shutil.copytree(tiny_base, tmp_path, dirs_exist_ok=True)
    weights = load_file(tiny_base / "model.safetensors")
    del weights["model.layers.0.mlp.up_proj.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    damaged = sealed_checkpoint(store, tmp_path, "damaged")
    assert runner.run(job(store, damaged, evaluation(("sums",)), data), threading.Event()) == REFUSED
    assert "1 weights are missing" in capsys.readouterr().out


def test_a_terminated_process_says_that_it_can_go_on(store: Store, checkpoint: JobInput, data: Path) -> None:
    import signal
    import subprocess
    import sys

    long = evaluation(("follow",)).model_dump(mode="json")["tasks"]
    long["follow"]["max_new_tokens"] = 1900
    made = job(store, checkpoint, evaluation(tasks=long), data)
    command = [sys.executable, "-m", "evaluation", str(made.write())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("report/base follow 0/4 prompts")
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
    assert process.returncode == INTERRUPTED
    assert "the same job goes on from there" in rest
    assert store.find(made.request) is None
