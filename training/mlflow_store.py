"""Opening an MLflow store: safely when several processes are first, with telemetry off.

Six processes that open an empty sqlite store at once break it for good (seen with MLflow 3.17.2:
half-made tables, `alembic_version` without a row), so the first opening happens here under a file lock.
Runs and models are logged elsewhere.
"""

import logging
import os
from pathlib import Path

from filelock import FileLock

_SQLITE = "sqlite:///"
_LOCK_SECONDS = 120.0


def prepare_store(uri: str) -> None:
    """Make the store at `uri` usable by any number of processes at once; cheap when it already is.

    For `sqlite:///<file>` this makes the folder and the tables. A server has made its own.
    Call it before MLflow is imported: telemetry can only be switched off before.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    if not uri.startswith(_SQLITE):
        return
    database = Path(uri.removeprefix(_SQLITE))
    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(database.with_name(database.name + ".lock"), timeout=_LOCK_SECONDS):
        from mlflow import MlflowClient

        for noisy in ("alembic", "mlflow.store.db.utils"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        MlflowClient(uri).search_experiments(max_results=1)


def experiment_id(uri: str, name: str, home: Path) -> str:
    """The experiment called `name`, made if there is none; with sqlite its files lie in `<home>/mlflow/artifacts`.

    MLflow's own default would be a folder in the working directory.
    """
    prepare_store(uri)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(uri)
    found = client.get_experiment_by_name(name)
    if found is None:
        folder = (home / "mlflow" / "artifacts" / name).resolve().as_uri() if uri.startswith(_SQLITE) else None
        try:
            return str(client.create_experiment(name, artifact_location=folder))
        except MlflowException:  # another process made it in between; anything else fails in the next line
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return str(found.experiment_id)
