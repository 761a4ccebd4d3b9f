"""Answers checked in a process apart: what hangs or breaks costs one answer, and no secret is there to be read."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import psutil
import pytest
import reasoning_gym  # noqa: TID253

from corpora.verifiers.checked import SECONDS, Unchecked, checked, told
from corpora.verifiers.verifiers import score, scores, verifier_of
from lineage.errors import CorpusError

SUM = {"task": "chain_sum", "arguments": {}, "answer": "7", "entry": {"answer": "7"}}
NO_END = "¬" * 30_000
"""Takes propositional_logic a minute of CPU time."""
LATE = Unchecked(f"not done in {SECONDS} s")


def _problem(task: str) -> dict[str, Any]:
    entry = json.loads(json.dumps(reasoning_gym.create_dataset(task, size=1, seed=1)[0]))
    return {"task": task, "arguments": {}, "answer": entry["answer"], "entry": entry}


def _checkers() -> list[psutil.Process]:
    found = psutil.Process().children()
    return [one for one in found if any(word.endswith("checker.py") for word in one.cmdline())]


@pytest.mark.parametrize(
    "task", ["chain_sum", "basic_arithmetic", "gsm_symbolic", "propositional_logic", "word_ladder"]
)
def test_scores_are_those_of_reasoning_gym_to_the_digit(task: str) -> None:
    problems = reasoning_gym.create_dataset(task, size=12, seed=3)
    asked = []
    for entry in problems:
        answers = [entry["answer"], f" {entry['answer']}\n", f"It is {entry['answer']}.", "", "x", entry["question"]]
        asked += [({"task": task, "arguments": {}, "entry": entry}, str(answer)) for answer in answers]
    theirs = [float(problems.score_answer(answer.strip(), entry=problem["entry"])) for problem, answer in asked]
    assert len({*theirs}) > 1
    assert scores(asked) == theirs


def test_an_answer_that_hangs_or_breaks_its_scorer_costs_itself_alone() -> None:
    logic, factors = _problem("propositional_logic"), _problem("prime_factorization")
    found = scores([(SUM, "7"), (logic, NO_END), (SUM, "8"), (factors, "two times three"), (SUM, "7")])
    assert found == [1.0, LATE, 0.0, Unchecked("ended with ValueError"), 1.0]
    assert told(found) == (
        "2 of 5 answers could not be checked and count as wrong: "
        f"1 × ended with ValueError, 1 × not done in {SECONDS} s"
    )


def test_a_pattern_without_end_ends_also_in_another_thread() -> None:
    found: list[Any] = []
    asked = [{"pattern": "(a+)+", "answer": answer} for answer in ("aaa", "a" * 64 + "b", "aaa")]
    thread = threading.Thread(target=lambda: found.extend(checked("pattern", asked)))
    thread.start()
    thread.join(60)
    assert found == [True, LATE, True]


def test_a_row_whose_own_answer_has_no_end_is_refused() -> None:
    with pytest.raises(ValueError, match=f"cannot check the problem's own answer: not done in {SECONDS} s"):
        verifier_of({**_problem("propositional_logic"), "answer": NO_END})


@pytest.mark.parametrize("change", [{"arguments": 7}, {"arguments": {"seed": 1}}, {"entry": "7"}, {"answer": 7}])
def test_a_row_that_is_no_problem_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"of a reasoning-gym problem is not|ended with TypeError"):
        verifier_of({**SUM, **change})


def test_the_process_has_no_secret_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "canary")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "canary")
    assert score(SUM, "7") == 1
    for one in _checkers():
        one.kill()
        one.wait()
    assert score(SUM, "7") == 1  # by another, which was started with a token in our environment
    environments = [one.environ() for one in _checkers()]
    assert environments and not any("canary" in environment.values() for environment in environments)


def test_a_process_that_somebody_ends_is_started_again_and_the_answer_scored() -> None:
    many = [(SUM, "7")] * 5000
    assert score(SUM, "7") == 1

    def end() -> None:
        time.sleep(0.02)
        for one in _checkers():
            one.kill()

    thread = threading.Thread(target=end)
    thread.start()
    assert scores(many) == [1.0] * 5000
    thread.join()


def test_a_signal_that_is_meant_for_us_leaves_it_at_work() -> None:
    assert score(SUM, "7") == 1
    before = {one.pid for one in _checkers()}
    for pid in before:
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGINT)
    assert score(SUM, "7") == 1
    assert {one.pid for one in _checkers()} == before


def test_it_ends_with_whoever_asked_even_at_work() -> None:
    code = (
        "from corpora.verifiers.checked import checked\n"
        "checked('pattern', [{'pattern': 'a', 'answer': 'a'}])\nprint('ready', flush=True)\n"
        "checked('pattern', [{'pattern': '(a+)+', 'answer': 'a' * 64 + 'b'}])\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as asking:
        assert asking.stdout is not None and asking.stdout.readline() == "ready\n"
        (busy,) = psutil.Process(asking.pid).children()
        asking.kill()
    busy.wait(60)


def test_a_check_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing: Any = "nothing"
    with pytest.raises(CorpusError, match=r"the process that checks answers \(nothing\) does not start: .*KeyError"):
        checked(nothing, [{}])
