"""What a job logs reaches the MLflow run that its parent made, and leaves the run's life to the parent."""

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from jobs.job import Tracking
from jobs.mlflow_store import experiment_id
from jobs.run_log import RunLog, _MlflowRunLog, run_log
from lineage.errors import TrainingError


def test_numbers_settings_and_inputs_reach_the_run(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = MlflowClient(uri)
    run_id = client.create_run(experiment_id(uri, "tiny", tmp_path)).info.run_id
    with run_log(Tracking(uri=uri, run_id=run_id)) as log:
        log.metrics({"rewards/margins": 0.5, "it's": 1.0, 'it"s': 2.0, "../x": 3.0, "": 4.0}, step=3)
        log.params({"lora": {"rank": 4}, "seed": 1, "rewards": [{"weight": 1.0, "kind": "verifier"}]})
        log.tags({"execution": {"micro_batch": 2}, "why?": "x" * 9000})
        log.params({"/etc": "y" * 9000})
        log.dataset("mixture", "a" * 64, tmp_path, 24, "training")
    run = client.get_run(run_id)
    assert run.data.metrics["rewards/margins"] == 0.5
    assert sorted(run.data.metrics.values()) == [0.5, 1.0, 2.0, 3.0, 4.0]
    assert {"lora.rank": "4", "seed": "1"}.items() <= run.data.params.items()
    assert run.data.params["rewards"] == '[{"kind": "verifier", "weight": 1.0}]'
    assert run.data.tags["execution.micro_batch"] == "2"
    assert [len(text) for name, text in run.data.tags.items() if name.startswith("why")] == [8000]
    assert [len(text) for name, text in run.data.params.items() if name.startswith("etc")] == [6000]
    (given,) = run.inputs.dataset_inputs
    assert {tag.key: tag.value for tag in given.tags} == {"mlflow.data.context": "training", "sha256": "a" * 64}
    assert run.info.status == "RUNNING"


def test_a_run_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    experiment_id(uri, "tiny", tmp_path)
    with pytest.raises(TrainingError, match=r"tracking\.run_id"), run_log(Tracking(uri=uri, run_id="0" * 32)):
        pass


def test_a_server_that_was_lost_is_not_waited_for_at_every_step(capsys: pytest.CaptureFixture[str]) -> None:
    from mlflow.exceptions import MlflowException

    asked = []

    def log_batch(_run: str, **_values: object) -> None:
        asked.append(time.monotonic())
        time.sleep(0.05)
        raise MlflowException("API request to http://me:secret@nobody failed with exception")

    log = _MlflowRunLog(SimpleNamespace(log_batch=log_batch), "r")
    for step in range(3):
        log.metrics({"loss": 1.0}, step)
    assert len(asked) == 1
    time.sleep(0.6)
    log.metrics({"loss": 1.0}, 3)
    assert len(asked) == 2
    said = capsys.readouterr().out
    assert said.count("the job goes on without it") == 1
    assert "http://nobody" in said and "secret" not in said


def test_an_experiment_that_a_person_deleted_is_taken_up_again(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    from jobs.mlflow_store import experiment_id

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    first = experiment_id(uri, "temper/tiny", tmp_path)
    client = MlflowClient(uri)
    client.delete_experiment(first)
    assert experiment_id(uri, "temper/tiny", tmp_path) == first
    assert client.create_run(first).info.experiment_id == first


def test_without_a_run_nothing_is_logged() -> None:
    with run_log(None) as log:
        assert type(log) is RunLog
        log.metrics({"loss": 1.0}, step=1)
