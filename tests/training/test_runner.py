"""A job from its file to its exit status: done once, refused in one line, never half-written."""

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from made_jobs import finish, run_here, sft_job

from jobs.job import Tracking
from recipes.errors import DONE, FAILED, INTERRUPTED, REFUSED
from training.runner import main


def test_a_sealed_job_is_done_at_once_and_needs_no_torch(tiny_base: Path, tmp_path: Path) -> None:
    job = sft_job(tiny_base, tmp_path)
    assert run_here(job) == DONE
    began = time.monotonic()
    status, output = finish(job.write())
    assert status == DONE
    assert "is there already" in output
    assert time.monotonic() - began < 5
    pointed = job.store.ref("tiny", "sft")
    assert pointed is not None
    assert pointed.fingerprint == job.request.fingerprint


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such file"), ("{", "Invalid JSON"), ('{"kind": "sft"}', "recipe: Field required")],
)
def test_a_bad_job_file_is_one_line_and_exit_2(tmp_path: Path, content: str | None, said: str) -> None:
    file = tmp_path / "job.json"
    if content is not None:
        file.write_text(content, encoding="utf-8")
    status, output = finish(file)
    assert status == REFUSED
    assert said in output
    assert output.count("\n") == 1


def test_an_input_that_is_not_the_jobs_is_refused(
    tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = sft_job(tiny_base, tmp_path)
    other = job.inputs["start"].model_copy(update={"digest": "0" * 64})
    assert run_here(job.model_copy(update={"inputs": {**job.inputs, "start": other}})) == REFUSED
    assert "inputs.start" in capsys.readouterr().out


def test_an_input_with_a_flipped_byte_is_noticed(
    tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = sft_job(tiny_base, tmp_path)
    file = job.inputs["mixture"].path / "rows.parquet"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    assert run_here(job) == FAILED
    assert "its bytes are not those recorded" in capsys.readouterr().out


def test_a_training_that_diverges_ends_with_a_reason(
    tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = sft_job(tiny_base, tmp_path, learning_rate=0.99, max_grad_norm=1e30, epochs=20.0, schedule="constant")
    broken = json.loads(job.model_dump_json())
    broken["config"]["weight_decay"] = 1e30
    assert run_here(type(job).model_validate(broken)) == REFUSED
    assert "the training has diverged" in capsys.readouterr().out
    assert job.store.find(job.request) is None


@pytest.mark.parametrize(("sealed", "status"), [(True, DONE), (False, INTERRUPTED)])
def test_a_job_waits_for_the_process_that_makes_its_artefact_and_can_be_stopped_there(
    tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], sealed: bool, status: int
) -> None:
    job, stop = sft_job(tiny_base, tmp_path), threading.Event()
    with ThreadPoolExecutor() as pool, job.store.building(job.request) as work:
        second = pool.submit(main, job.write(), stop)
        while "waits for process" not in capsys.readouterr().out:
            assert not second.done()
            time.sleep(0.1)
        if sealed:
            (work / "weights").touch()
            job.store.seal(job.request, config={}, metrics={}, inputs={})
        else:
            stop.set()
            second.result(10)
    assert second.result() == status


def test_a_job_whose_mlflow_does_not_answer_failed_and_may_go_on_later(
    tiny_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = sft_job(tiny_base, tmp_path)
    with socket.socket() as nobody:  # bound, but does not listen
        nobody.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        assert run_here(job.model_copy(update={"tracking": Tracking(uri=address, run_id="r")})) == FAILED
    assert f"error: MLflow at {address} does not answer: Connection refused" in capsys.readouterr().out
