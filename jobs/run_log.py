"""The job's side of MLflow: log into a run that the parent created. Without a run, nothing is logged.

Only the client API is used: the fluent API would end the run, pop `MLFLOW_RUN_ID` and keep global
state, while the run's life belongs to the parent. A run that cannot be found when the job starts is an
error; a tracking server that fails later is reported once and does not cost a training run.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs import mlflow_names
from jobs.job import Tracking
from jobs.logged_models import log_scores, logged_model
from jobs.mlflow_store import prepare_store
from jobs.mlflow_uri import private, public
from jobs.progress import say
from lineage.errors import TrainingError
from lineage.store import Artifact

if TYPE_CHECKING:
    from mlflow import MlflowClient

_PAUSE = 9
"""Times as long as a failure took nothing is sent: a lost server, waited for by MLflow, costs a tenth at most."""


class RunLog:
    """Where a job logs to: this one drops everything, for a job without an MLflow run."""

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Numbers at a step. Names and values are made valid by `mlflow_names`, here and below."""

    def params(self, values: Mapping[str, Any]) -> None:
        """Settings, nested ones by dotted name. MLflow never lets a param change."""

    def tags(self, values: Mapping[str, Any]) -> None:
        """Facts that may change between attempts."""

    def dataset(self, name: str, digest_sha256: str, path: Path, rows: int, context: str) -> None:
        """An input of the run, with its sha256 in a tag."""

    def artifact(self, path: Path) -> None:
        """Upload one file."""

    def scores(self, checkpoint: Artifact, values: Mapping[str, float], data: Mapping[str, str]) -> None:
        """Scores of a checkpoint, as `jobs.logged_models.log_scores` takes them, on its LoggedModel."""


@contextmanager
def run_log(tracking: Tracking | None) -> Iterator[RunLog]:
    """The log of the job's MLflow run, with system metrics while it is open."""
    if tracking is None:
        yield RunLog()
        return
    uri = private(tracking.uri)
    prepare_store(uri)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    logging.getLogger("mlflow.system_metrics").setLevel(logging.WARNING)
    client = MlflowClient(uri)
    try:
        client.get_run(tracking.run_id)
    except MlflowException as error:
        raise TrainingError(f"tracking.run_id {tracking.run_id}: not in {tracking.uri}: {error.message}") from None
    monitor = SystemMetricsMonitor(tracking.run_id, resume_logging=True, tracking_uri=uri)
    monitor.start()
    try:
        yield _MlflowRunLog(client, tracking.run_id)
    finally:
        monitor.finish()


class _MlflowRunLog(RunLog):
    def __init__(self, client: "MlflowClient", run_id: str) -> None:
        self._client, self._run_id = client, run_id
        self._reported = False
        self._next_try = 0.0

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        batch = [Metric(name, value, now, step) for name, value in mlflow_names.numbers(values).items()]
        self._try(lambda: self._client.log_batch(self._run_id, metrics=batch))

    def params(self, values: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        flat = [Param(name, text) for name, text in mlflow_names.params(values).items()]
        for start in range(0, len(flat), mlflow_names.PARAMS_AT_ONCE):
            batch = flat[start : start + mlflow_names.PARAMS_AT_ONCE]
            self._try(lambda batch=batch: self._client.log_batch(self._run_id, params=batch))  # type: ignore[misc]

    def tags(self, values: Mapping[str, Any]) -> None:
        from mlflow.entities import RunTag

        batch = [RunTag(name, text) for name, text in mlflow_names.tags(values).items()]
        self._try(lambda: self._client.log_batch(self._run_id, tags=batch))

    def dataset(self, name: str, digest_sha256: str, path: Path, rows: int, context: str) -> None:
        source = {"uri": path.as_uri()}
        given = mlflow_names.dataset_input(name, digest_sha256, source, source_type="local", context=context, rows=rows)
        self._try(lambda: self._client.log_inputs(self._run_id, [given]))

    def artifact(self, path: Path) -> None:
        self._try(lambda: self._client.log_artifact(self._run_id, str(path)))

    def scores(self, checkpoint: Artifact, values: Mapping[str, float], data: Mapping[str, str]) -> None:
        def send() -> None:
            experiment = self._client.get_run(self._run_id).info.experiment_id
            model = logged_model(self._client, experiment, checkpoint)
            log_scores(self._client, self._run_id, model, values, data)

        self._try(send)

    def _try(self, send: Callable[[], None]) -> None:
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        began = time.monotonic()
        if began < self._next_try:
            return
        try:
            send()
        except (MlflowException, SQLAlchemyError, OSError) as error:
            ended = time.monotonic()
            self._next_try = ended + _PAUSE * (ended - began)
            if not self._reported:
                say(f"MLflow: logging failed, the job goes on without it: {public(str(error)).splitlines()[0]}")
            self._reported = True
