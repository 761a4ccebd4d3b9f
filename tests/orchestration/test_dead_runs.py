"""Runs that are dead and runs that live: real processes, launched as by the UI or made to hold what a run holds."""

import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest
from dagster._core.test_utils import create_run_for_test
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import PythonFileTarget

from assets.making import GPU
from lineage.holding import Holder
from orchestration.home import prepare_home
from orchestration.liveness import end_dead_runs, holding_job, open_instance
from orchestration.watch import Watch

_LOCATION = Path(__file__).with_name("slow_location.py")
_ROOT = Path(__file__).parent.parent.parent
FAILURE, CANCELED, STARTED = (dg.DagsterRunStatus[name] for name in ("FAILURE", "CANCELED", "STARTED"))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TEMPER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SLOW_FOLDER", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(_ROOT))
    for name in ("DAGSTER_HOME", "DAGSTER_DISABLE_TELEMETRY", "DO_NOT_TRACK", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.delenv(name, raising=False)
    return prepare_home()


class Launched:
    """A run in the processes that the UI would have started for it: a code server, a run worker, a step."""

    def __init__(self, instance: dg.DagsterInstance, folder: Path, stack: ExitStack) -> None:
        others = set(psutil.Process().children(recursive=True))  # of tests that ran before, in this process
        target = PythonFileTarget(str(_LOCATION), attribute=None, working_directory=str(_ROOT), location_name="slow")
        workspace = stack.enter_context(WorkspaceProcessContext(instance, target)).create_request_context()
        job = workspace.get_code_location("slow").get_repository("__repository__").get_full_job("slow_job")
        origins = {"remote_job_origin": job.get_remote_origin(), "job_code_origin": job.get_python_origin()}
        self.run_id = create_run_for_test(instance, "slow_job", **origins).run_id
        instance.launch_run(self.run_id, workspace)
        _until((folder / "began").is_file, 60)
        self.processes = [p for p in psutil.Process().children(recursive=True) if p not in others]

    def kill(self) -> None:
        for process in self.processes:
            process.kill()
        psutil.wait_procs(self.processes, 10)


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        yield instance


def test_a_run_of_the_ui_is_left_alone_while_it_lives_and_ended_by_the_first_command_after_a_power_cut(
    home: Path, instance: dg.DagsterInstance, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ExitStack() as stack:
        launched = Launched(instance, tmp_path, stack)
        for process in launched.processes:
            process.suspend()
        assert end_dead_runs(instance, home) == []
        launched.kill()
        assert (_status(instance, launched.run_id), _slots(instance)) == (STARTED, {launched.run_id})
        with open_instance(home):
            assert (_status(instance, launched.run_id), _slots(instance)) == (FAILURE, set())
        [sentence] = capsys.readouterr().err.strip().splitlines()
        assert sentence.startswith(f"Run {launched.run_id[:8]} of slow_job ")
        [ended] = instance.all_logs(launched.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
        assert "is gone" in ended.message
        assert not list((home / "runs").glob("*.lock"))


def test_a_dead_run_that_a_person_terminated_is_canceled_and_not_tried_again(
    home: Path, instance: dg.DagsterInstance
) -> None:
    executed = Executed(instance, home, dg.DagsterRunStatus.CANCELING)
    executed.kill()
    assert len(end_dead_runs(instance, home)) == 1
    assert _status(instance, executed.run_id) is CANCELED


def test_a_run_lives_as_long_as_a_job_of_it(home: Path, instance: dg.DagsterInstance) -> None:
    executed = Executed(instance, home)
    executed.kill()
    with holding_job(home, executed.run_id, "tiny/sft"):
        assert end_dead_runs(instance, home) == []
    assert len(end_dead_runs(instance, home)) == 1


def test_a_run_lives_on_beside_a_copy_of_its_lock(home: Path, instance: dg.DagsterInstance) -> None:
    executed = Executed(instance, home)
    lock = home / "runs" / f"{executed.run_id}.lock"
    copy = lock.with_name("copy")
    copy.write_bytes(lock.read_bytes())
    copy.replace(lock)
    assert end_dead_runs(instance, home) == []
    executed.kill()
    assert len(end_dead_runs(instance, home)) == 1


@pytest.mark.parametrize(("change", "ended"), [({"host": "elsewhere"}, 1), ({"host": "elsewhere", "boot": "b"}, 0)])
def test_only_a_machine_that_can_tell_calls_a_run_dead(
    home: Path, instance: dg.DagsterInstance, change: dict[str, str], ended: int
) -> None:
    executed = Executed(instance, home)
    executed.kill()
    lock = home / "runs" / f"{executed.run_id}.lock"
    here = Holder.model_validate_json(lock.read_bytes())
    lock.write_text(here.model_copy(update=change).model_dump_json(), encoding="utf-8")
    assert len(end_dead_runs(instance, home)) == ended


def test_a_run_that_waits_says_for_which_and_takes_the_slot_of_the_dead(
    home: Path, instance: dg.DagsterInstance
) -> None:
    executed, waiting = Executed(instance, home), create_run_for_test(instance, "tiny", status=STARTED).run_id
    storage = instance.event_log_storage
    storage.set_concurrency_slots(GPU, 1)
    assert storage.claim_concurrency_slot(GPU, executed.run_id, "tiny__base").is_claimed
    assert not storage.claim_concurrency_slot(GPU, waiting, "tiny__sft").is_claimed
    told: list[str] = []
    waits: list[tuple[str, str]] = []
    with Watch(instance, home, told.append, waiting, lambda step, line: waits.append((step, line))):
        _until(lambda: waits, 10)
        held_by = f"run {executed.run_id[:8]}, process {executed.process.pid}"
        assert waits == [("tiny__sft", f"waits for a slot of pool {GPU}, held by {held_by}")]
        assert _slots(instance) == {executed.run_id}
        executed.kill()
        _until(lambda: storage.claim_concurrency_slot(GPU, waiting, "tiny__sft").is_claimed, 10)
    assert len(told) == 1


class Executed:
    """A run of the instance, and a process that holds it as the one that executes it."""

    def __init__(self, instance: dg.DagsterInstance, home: Path, status: dg.DagsterRunStatus = STARTED) -> None:
        self.run_id = create_run_for_test(instance, "tiny", status=status).run_id
        code = textwrap.dedent(f"""
            import time
            from pathlib import Path
            from orchestration.liveness import hold_run
            hold_run(Path({str(home)!r}), {self.run_id!r}, "tiny")
            print("held", flush=True)
            time.sleep(300)
        """)
        self.process = subprocess.Popen([sys.executable, "-c", code], cwd=_ROOT, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "held\n"
        assert end_dead_runs(instance, home) == []

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


def _status(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def _slots(instance: dg.DagsterInstance) -> set[str]:
    return instance.event_log_storage.get_concurrency_info(GPU).active_run_ids


def _until(condition: Callable[[], Any], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.1)
