"""Programs that really try to break out, and what stops each of them."""

import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from evaluation.task import Place
from evaluation.tasks import code, sandbox
from lineage.errors import EvaluationError
from models.answering import LoadedModel, Response
from models.local import load_model
from recipes.suite import CodeTask
from tests.evaluation.made_benchmarks import HUMANEVAL
from tests.evaluation.made_suite import write_rows

LIMITS = sandbox.Limits(seconds=2, memory_mb=256)


def _available() -> bool:
    try:
        sandbox.probe(LIMITS)
    except EvaluationError:
        return False
    return True


needs_sandbox = pytest.mark.skipif(not _available(), reason="no sandbox can be made on this machine")
pytestmark = needs_sandbox

BREAKING_OUT = {
    "a process ends before its tests": "import os\nos._exit(0)",
    "an interpreter ends before its tests": "import sys\nsys.exit(0)",
    "an error": "raise ValueError",
    "a memory hog": "hog = bytearray(4 << 30)",
    "a hog of many pieces": "hog = []\nwhile True: hog.append(bytearray(1 << 20))",
    "a fork bomb": "import os\nwhile True: os.fork()",
    "an endless loop": "while True: pass",
    "a large file": "open('/scratch/large', 'wb').write(b'0' * (40 << 20))",
    "many files": "for n in range(100): open(f'/scratch/{n}', 'wb').write(b'0' * (10 << 20))",
    "a folder outside": "open('/usr/left', 'w')",
    "the root": "open('/left', 'w')",
    "a read-only mount made writable": (
        "import ctypes\nassert ctypes.CDLL(None).mount(None, b'/usr', None, 0x1020, None) == 0"
    ),
    "a user namespace": "import ctypes\nassert ctypes.CDLL(None).unshare(0x10000000) == 0",
    "the machine's processes": "import os\nos.listdir('/proc')[0]",
    "the machine's users": "open('/etc/passwd').read()",
    "another user": "import os\nos.setuid(1)\nassert os.getuid() == 1",
}


@pytest.mark.parametrize("program", BREAKING_OUT.values(), ids=list(BREAKING_OUT))
def test_a_program_that_breaks_out_does_not_pass(program: str) -> None:
    assert sandbox.run(program, LIMITS) != "passed"
    assert sandbox.run("assert 1 + 1 == 2", LIMITS) == "passed"


def test_a_listening_port_of_this_machine_is_out_of_reach() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = listening.getsockname()
        program = f"import socket\nsocket.create_connection({address!r}, timeout=3)"
        exec(program)
        assert sandbox.run(program, LIMITS) == "failed"


def test_nothing_is_left_outside(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    program = f"import pathlib\npathlib.Path({str(tmp_path)!r}).mkdir(parents=True, exist_ok=True)\n"
    program += f"(pathlib.Path({str(tmp_path)!r}) / 'left').write_text('x')"
    assert sandbox.run(program, LIMITS) != "passed"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("whom", ["os.getppid()", "-1", "0", str(os.getpid())], ids=["parent", "all", "group", "tests"])
def test_this_process_cannot_be_killed(whom: str) -> None:
    sandbox.run(f"import os, signal\nos.kill({whom}, signal.SIGKILL)", LIMITS)
    assert sandbox.run("pass", LIMITS) == "passed"


def test_processes_that_it_leaves_behind_end_with_it() -> None:
    import psutil

    marks = {child.pid for child in psutil.process_iter()}
    program = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(300)\n"
    assert sandbox.run(program, LIMITS) == "passed"
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        left = [
            p
            for p in psutil.process_iter(["cmdline"])
            if p.pid not in marks and "/scratch/calls.py" in (p.info["cmdline"] or [])
        ]
        if not left:
            return
        time.sleep(0.1)
    pytest.fail(f"{left} are left")


def test_a_waiting_program_is_stopped_too() -> None:
    began = time.monotonic()
    assert sandbox.run("import time\ntime.sleep(300)", sandbox.Limits(seconds=1)) == "stopped"
    assert time.monotonic() - began < 30


def test_it_sees_no_environment_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "canary")
    program = "import os\nassert 'HF_TOKEN' not in os.environ and 'PATH' not in os.environ"
    assert sandbox.run(program, LIMITS) == "passed"


def test_a_program_is_the_same_every_time() -> None:
    program = "assert sum(hash(word) % 1000 for word in ('a', 'b', 'c')) == {}"
    value = __import__("subprocess").run(
        [sys.executable, "-c", "print(sum(hash(word) % 1000 for word in ('a', 'b', 'c')))"],
        env={"PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert sandbox.run(program.format(value.stdout), LIMITS) == "passed"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    write_rows(tmp_path / "problems.jsonl", HUMANEVAL)
    return Place(tmp_path, tmp_path / "cache", tmp_path)


def the_task(**fields: Any) -> CodeTask:
    return CodeTask.model_validate(
        {"kind": "code", "data": {"uri": "problems.jsonl"}, "allow_code_execution": True, "seconds": 2, **fields}
    )


def test_answers_that_pass_their_tests_are_counted_and_the_others_stop_nothing(
    tiny_base: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    model: LoadedModel = load_model(tiny_base, "float32", 4)
    shown: list[str] = []

    def generate(_: Any, prompts: list[str], _limit: int, _tick: Any, until: tuple[str, ...]) -> list[Response]:
        shown.extend([*prompts, *until])
        texts = ["    while True: pass", "    return a + 1\n", "    import os; os.kill(os.getppid(), 9)"]
        return [Response(text, 9, 3, cut=False, finite=True) for text in texts]

    monkeypatch.setattr(code, "generate", generate)
    outcome = code.prepare("code", the_task(), place).run(model, lambda done: None)
    assert [sample["score"] for sample in outcome.samples] == [0, 1, 0]
    assert sum(outcome.details.values()) == 3 and outcome.details["programs that passed their tests"] == 1
    assert shown[0].endswith("Here is the completed function:\n```python\n" + HUMANEVAL[0]["prompt"] + "\n")
    assert "```" in shown


def test_every_models_solution_passes_its_own_tests(place: Place) -> None:
    for row in HUMANEVAL:
        assert sandbox.run(code.program_of(row, row["canonical_solution"]), LIMITS) == "passed"


def test_a_row_that_is_no_problem_is_named(place: Place) -> None:
    write_rows(place.folder / "problems.jsonl", [{**HUMANEVAL[0], "entry_point": "os.system('x')"}])
    with pytest.raises(EvaluationError, match=r"tasks\.code\.data: row 1: expected the name of a function"):
        code.prepare("code", the_task(), place)
