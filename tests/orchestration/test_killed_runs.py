"""A run that is killed or mistaken, by the real command."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest

from tests.orchestration.project import Project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Project:
    return Project(tmp_path_factory.mktemp("killed"), tiny_base)


def test_a_killed_run_takes_its_jobs_along_and_its_slot_goes_to_the_run_that_waits_for_it(project: Project) -> None:
    killed = project.start()
    _until(project.job_processes, 120)
    jobs = [psutil.Process(pid) for pid in project.job_processes()]
    for job in jobs:
        job.suspend()
    [run_id] = _claims(project)
    waiting = project.start("--select", "base")
    try:
        _until(lambda: len(_claims(project)) == 2, 60)
        time.sleep(3)
        killed.kill()
        killed.communicate()
        for job in jobs:
            job.resume()
        _, alive = psutil.wait_procs(jobs, 20)
        assert not alive
        printed, _ = waiting.communicate(timeout=120)
    finally:
        waiting.kill()
    assert waiting.returncode == 0
    assert f"waits for a slot of pool gpu, held by run {run_id[:8]}, process {killed.pid}" in printed
    assert f"Run {run_id[:8]} of tiny was dead and is ended" in printed
    assert project.ref("base")


def test_a_mistake_is_one_message_without_a_traceback(project: Project) -> None:
    done = project.command("--set", "dpo.betta=1")
    assert done.returncode == 2
    assert "stages.dpo.betta: unknown key; did you mean 'beta'?" in done.stderr
    assert "Traceback" not in done.stderr


def _until(condition: Callable[[], Any], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.2)


def _claims(project: Project) -> set[str]:
    """Ids of the runs that hold or wait for a slot."""
    with dg.DagsterInstance.from_config(str(project.home / "dagster")) as instance:
        return instance.event_log_storage.get_concurrency_run_ids()
