"""The same answers whatever computes them: in this process, from a server, from a server that the job launches."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from evaluation import runner
from evaluation.gating.gate import decide
from evaluation.report import Report
from jobs.job import Job, JobInput
from lineage.errors import EvaluationError
from lineage.store import Store
from models.answering import generate, log_likelihoods
from models.endpoint import Endpoint, ServerDown, ask
from models.local import load_model
from models.served import Served, connect
from recipes.errors import DONE, FAILED, REFUSED
from recipes.suite import Evaluation
from tests.evaluation.made_reports import pair, promotion, report
from tests.evaluation.made_suite import evaluation, job, sealed_checkpoint, write_data
from tests.evaluation.standin import VERSION, Standin, served

ROOT = Path(__file__).parents[2]
TASKS = ("follow", "facts", "sums", "benign")
SECRET = "canary-of-a-key-4711"


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
def in_process(store: Store, checkpoint: JobInput, data: Path) -> Report:
    return _report(job(store, checkpoint, evaluation(TASKS), data))


@pytest.fixture
def server(checkpoint: JobInput) -> Iterator[Standin]:
    with served(Standin(checkpoint.path, checkpoint.digest)) as running:
        yield running


def _report(made: Job) -> Report:
    assert runner.run(made, threading.Event()) == DONE
    found = made.store.find(made.request)
    assert found is not None
    return Report.load(found.path)


def _on(url: str, **server: Any) -> dict[str, Any]:
    """Changes of an evaluation that make it ask a server."""
    return {"backend": "server", "execution": {"server": {"url": url, **server}}}


def _job(store: Store, checkpoint: JobInput, data: Path, suite: Evaluation) -> Job:
    return job(store, checkpoint, suite, data, execution=suite.execution.model_dump(mode="json"))


def _installed(folder: Path, monkeypatch: pytest.MonkeyPatch, *names: str) -> Path:
    """Programs on PATH that are the stand-in. Returns the file in which a started one says who it is."""
    folder.mkdir()
    for name in names:
        program = folder / name
        program.write_text(
            f'#!/bin/sh\ncd {ROOT}\nexec {sys.executable} -m tests.evaluation.standin "$@"\n', encoding="utf-8"
        )
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("STANDIN_STARTED", str(folder / "started.json"))
    return folder / "started.json"


def test_a_launched_server_gives_the_same_report_item_by_item_and_is_gone_afterwards(
    store: Store,
    checkpoint: JobInput,
    data: Path,
    in_process: Report,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started = _installed(tmp_path / "bin", monkeypatch, "vllm")
    found = _report(_job(store, checkpoint, data, evaluation(TASKS, backend="vllm")))
    assert _apart_from_confidence(found) == _apart_from_confidence(in_process) and found.health == in_process.health
    ours, theirs = ([row.get("confidence") or 0.0 for row in one.rows] for one in (in_process, found))
    assert theirs == pytest.approx(ours, abs=1e-4) and any(ours)
    assert found.runtime["backend"] == "vllm" and found.runtime["backend_version"] == f"standin {VERSION}"
    process = json.loads(started.read_text())
    assert not psutil.pid_exists(process["pid"])
    assert "127.0.0.1" in process["arguments"] and "float32" in process["arguments"]


def test_log_probabilities_of_a_server_are_those_in_process(
    server: Standin, checkpoint: JobInput, tmp_path: Path
) -> None:
    ours = load_model(checkpoint.path, "float32", 4)
    theirs = _met(server, checkpoint, tmp_path)
    ids = ours.template.tokenise("The sea is wide and the river is long and nobody minds")
    pairs = [(ids[:4], ids[4:6]), (ids[:4], ids[5:9]), (ids[:7], ids[7:8])]
    here, there = (log_likelihoods(model, pairs, lambda done: None) for model in (ours, theirs))
    assert [one.logprob for one in there] == pytest.approx([one.logprob for one in here], abs=1e-4)
    assert [one.greedy for one in there] == [one.greedy for one in here]
    longest = [ids[0]] * (theirs.context - 1)
    assert log_likelihoods(theirs, [(longest, ids[1:3])], lambda done: None)[0].finite
    first = list(ours.model.generate(_tensor(ids[:4]), max_new_tokens=1, do_sample=False)[0, -1:].tolist())
    assert log_likelihoods(theirs, [(ids[:4], first)], lambda done: None)[0].greedy


def test_chat_completions_leave_the_template_to_the_server(
    store: Store, checkpoint: JobInput, data: Path, in_process: Report, server: Standin
) -> None:
    suite = evaluation(("sums", "follow"), api="chat", **_on(server.url))
    found = _report(_job(store, checkpoint, data, suite))
    assert {path for path, _ in server.asked} == {"/v1/chat/completions"}
    assert found.runtime["api"] == "chat"
    same = [(row["doc_hash"], row["response"], row["score"]) for row in in_process.rows]
    assert all((row["doc_hash"], row["response"], row["score"]) in same for row in found.rows)


def test_a_server_that_gives_no_log_probabilities_is_refused_before_the_first_question(
    store: Store, checkpoint: JobInput, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with served(Standin(checkpoint.path, checkpoint.digest, echoes=False)) as server:
        suite = evaluation(("facts", "sums"), **_on(server.url, attempts=1))
        assert runner.run(_job(store, checkpoint, data, suite), threading.Event()) == REFUSED
        assert "which 'facts' of evaluation.tasks need" in capsys.readouterr().out
        assert len(server.asked) == 1
        assert _report(_job(store, checkpoint, data, evaluation(("sums",), **_on(server.url)))).valid


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
def test_what_is_not_installed_is_refused_with_the_way_to_get_it(
    store: Store,
    checkpoint: JobInput,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    made = _job(store, checkpoint, data, evaluation(("sums",), backend=kind, seed=3))
    assert runner.run(made, threading.Event()) == REFUSED
    assert f"{kind} is not installed here; pip install {kind}" in capsys.readouterr().out


@pytest.mark.parametrize(("kind", "begins"), [("vllm", ["serve"]), ("sglang", ["serve", "--model-path"])])
def test_a_server_that_breaks_while_it_starts_says_why(
    kind: str,
    begins: list[str],
    store: Store,
    checkpoint: JobInput,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    started = _installed(tmp_path / "bin", monkeypatch, kind)
    monkeypatch.setenv("STANDIN_BREAKS", "1")
    made = _job(store, checkpoint, data, evaluation(("sums",), backend=kind, seed=4))
    assert runner.run(made, threading.Event()) == REFUSED
    assert "it ended with status 1 before it was ready: no device is free" in capsys.readouterr().out
    asked = json.loads(started.read_text())["arguments"]
    assert asked[: len(begins) + 1] == [*begins, str(checkpoint.path)]
    assert asked[asked.index("--served-model-name") + 1] == checkpoint.digest


def test_a_launched_server_does_not_outlive_a_job_that_is_killed(
    store: Store, checkpoint: JobInput, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = _installed(tmp_path / "bin", monkeypatch, "vllm")
    tasks = evaluation(("follow",)).model_dump(mode="json")["tasks"]
    tasks["follow"]["max_new_tokens"] = 1900
    made = _job(store, checkpoint, data, evaluation(tasks=tasks, backend="vllm", seed=5))
    command = [sys.executable, "-m", "evaluation", str(made.write())]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True) as process:
        while not started.is_file() and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    pid = json.loads(started.read_text())["pid"]
    for _ in range(200):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.1)
    pytest.fail("the server is still there")


def test_a_server_is_asked_nothing_twice_and_another_one_never_gets_its_answers(
    store: Store, checkpoint: JobInput, data: Path, server: Standin
) -> None:
    made = _job(store, checkpoint, data, evaluation(("sums", "facts"), seed=6, **_on(server.url)))
    first = _report(made)
    questions, server.asked = len(server.asked), []
    shutil.rmtree(store.object_path(made.request))
    assert _report(made).report_id == first.report_id
    assert len(server.asked) == 1  # whether it gives log-probabilities
    shutil.rmtree(store.object_path(made.request))
    with served(Standin(checkpoint.path, checkpoint.digest)) as other:
        moved = _job(store, checkpoint, data, evaluation(("sums", "facts"), seed=6, **_on(other.url)))
        assert moved.request.fingerprint == made.request.fingerprint
        assert _report(moved).report_id == first.report_id
        assert len(other.asked) == questions
        shutil.rmtree(store.object_path(made.request))
        other.version, other.asked = "0.0.8", []
        assert _report(moved).report_id != first.report_id
        assert len(other.asked) == questions


def test_a_key_is_named_by_its_variable_and_appears_nowhere(
    store: Store,
    checkpoint: JobInput,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with served(Standin(checkpoint.path, checkpoint.digest, key=SECRET)) as server:
        monkeypatch.setenv("TEMPER_SERVER_URL", server.url)
        suite = evaluation(
            ("sums",), backend="server", seed=7, execution={"server": {"api_key_env": "MADE_KEY", "attempts": 1}}
        )
        made = _job(store, checkpoint, data, suite)
        assert runner.run(made, threading.Event()) == REFUSED
        assert "the environment has no MADE_KEY" in capfd.readouterr().out
        monkeypatch.setenv("MADE_KEY", f"{SECRET} but wrong")
        assert runner.run(made, threading.Event()) == REFUSED
        wrong = capfd.readouterr()
        assert "the key is not accepted; see api_key_env (status 401, Unauthorized)" in wrong.out
        monkeypatch.setenv("MADE_KEY", SECRET)
        assert _report(made).valid
    output = capfd.readouterr()
    assert SECRET not in wrong.out + wrong.err + output.out + output.err
    for path in store.home.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


def test_a_server_without_the_checkpoint_is_refused_and_says_what_it_has(
    store: Store, checkpoint: JobInput, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with served(Standin(checkpoint.path, "another-model")) as server:
        made = _job(store, checkpoint, data, evaluation(("sums",), seed=8, **_on(server.url)))
        assert runner.run(made, threading.Event()) == REFUSED
    said = capsys.readouterr().out
    assert "serves 'another-model', and not" in said and f"--served-model-name {checkpoint.digest}" in said


def test_a_busy_server_is_asked_again_and_a_lost_one_is_a_failure_that_may_be_retried(
    store: Store, checkpoint: JobInput, data: Path, server: Standin, capsys: pytest.CaptureFixture[str]
) -> None:
    server.busy = [429, 500, 503]
    made = _job(store, checkpoint, data, evaluation(("sums",), seed=9, **_on(server.url)))
    assert _report(made).valid and not server.busy
    server.busy = [500] * 99
    again = _job(store, checkpoint, data, evaluation(("sums",), seed=10, **_on(server.url, attempts=2)))
    assert runner.run(again, threading.Event()) == FAILED
    assert "status 500, also at the last of 2 attempts" in capsys.readouterr().out


def test_a_stop_ends_the_asking_at_once(server: Standin) -> None:
    endpoint = Endpoint("here", server.url, None, 2, 600, 8)
    server.busy = [500] * 99
    began = time.monotonic()

    def alive() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask(endpoint, "/completions", [{"model": server.name}] * 4, lambda index, reply: None, alive)
    assert time.monotonic() - began < 10


def test_nobody_there_is_told_from_a_refusal(free_url: str) -> None:
    endpoint = Endpoint("here", free_url, None, 2, 5, 2)
    with pytest.raises(ServerDown, match=r"no answer \(ConnectError\), also at the last of 2 attempts"):
        ask(endpoint, "/completions", [{}], lambda index, reply: None, lambda: None)


@pytest.fixture
def free_url(checkpoint: JobInput) -> str:
    """An address at which nobody answers."""
    from models.serving import _free_port

    return f"http://127.0.0.1:{_free_port()}/v1"


def test_an_answer_that_may_not_fit_is_refused_before_the_first_question(
    server: Standin, checkpoint: JobInput, tmp_path: Path
) -> None:
    model = _met(server, checkpoint, tmp_path)
    server.asked = []
    with pytest.raises(EvaluationError, match="exceed the model's context of 2046"):
        generate(model, ["One"], 2048, lambda done: None)
    assert not server.asked


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"backend": "vllm", "backend_version": "vllm 0.11.0"}, "backend (hf and vllm)"),
        ({"backend_version": "9.9"}, "back end version (None and 9.9)"),
        ({"api": "chat"}, "api (completions and chat)"),
        ({"dtype": "float32"}, "dtype (bfloat16 and float32)"),
        ({"batch_size": 4}, "batch_size (16 and 4)"),
    ],
)
def test_reports_of_other_back_ends_are_incomparable_and_the_field_is_named(changes: dict[str, Any], name: str) -> None:
    base, dpo = pair()
    other = report("base", list(base.rows), runtime=changes)
    decision = decide(promotion(), dpo, other, other, reference_kind="base", overridden=False)
    assert decision.verdict == "incomparable" and name in decision.reasons[0]


def test_reports_of_a_judge_that_has_become_another_are_incomparable() -> None:
    base, dpo = pair()
    old, new = (
        report("made", list(one.rows), details={"arena": {"judge": {"model": "j", "answered_as": [name]}}})
        for one, name in ((base, "j-1"), (dpo, "j-2"))
    )
    decision = decide(promotion(), new, old, old, reference_kind="base", overridden=False)
    assert decision.verdict == "incomparable" and "judge of arena (" in decision.reasons[0]


def test_a_server_and_this_process_are_incomparable_by_their_own_reports(
    store: Store, checkpoint: JobInput, data: Path, in_process: Report, server: Standin
) -> None:
    other = _report(_job(store, checkpoint, data, evaluation(TASKS, seed=11, **_on(server.url))))
    rule = promotion(target={"metric": "sums/accuracy"}, guards=[])
    decision = decide(rule, other, in_process, in_process, reference_kind="base", overridden=False)
    assert decision.verdict == "incomparable"
    assert "backend (server and transformers)" in decision.reasons[0]
    assert f"back end version (standin {VERSION} and " in decision.reasons[0]


def _apart_from_confidence(found: Report) -> list[dict[str, Any]]:
    """All that a report says of its items, but for a probability, whose last bits depend on who adds up."""
    return [{name: value for name, value in row.items() if name != "confidence"} for row in found.rows]


def _met(server: Standin, checkpoint: JobInput, folder: Path) -> Served:
    endpoint = Endpoint("here", server.url, None, 2, 60, 3)
    suite = evaluation(("facts",), **_on(server.url))
    return connect(endpoint, checkpoint.digest, checkpoint.path, checkpoint.digest, suite, folder)


def _tensor(ids: list[int]) -> Any:
    import torch

    return torch.tensor([ids])
