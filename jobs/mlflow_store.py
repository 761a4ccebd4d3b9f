"""Opening an MLflow store: safely when several processes are first, soon when it does not answer, with telemetry off.

Six processes that open an empty sqlite store at once break it for good (seen with MLflow 3.17.2:
half-made tables, `alembic_version` without a row), so the first opening happens here under a file lock.
Which store it is, says `jobs.mlflow_uri`. Runs and models are logged elsewhere.
"""

import logging
import os
import re
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from filelock import FileLock

from jobs.mlflow_uri import SQLITE, TRACKING, configured, hand_over_credentials, is_server, public
from lineage.errors import Unreachable

_LOCK_SECONDS = 120.0
_FIRST_CONTACT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""MLflow asks a server that does not answer for some four minutes, with up to 120 seconds for each answer."""
_NO_ANSWER = re.compile(r"API request to \S+ failed with (timeout )?exception")
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_CAUSE = re.compile(r"\[Errno -?\d+\] ([^\"')]+)")


def prepare_store(uri: str) -> None:
    """Make the store at `uri` usable by any number of processes at once; cheap when it already is.

    For `sqlite:///<file>` this makes the folder and the tables. A server has made its own and is asked whether it
    answers. Raises Unreachable within seconds if it does not, and for a file that is damaged.
    Call it before MLflow is imported: telemetry can only be switched off before.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    if not uri.startswith(SQLITE):
        hand_over_credentials(uri)
        _ask(uri)
        return
    refuse_damaged(uri)
    database = Path(uri.removeprefix(SQLITE))
    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(database.with_name(database.name + ".lock"), timeout=_LOCK_SECONDS):
        from mlflow import MlflowClient

        for noisy in ("alembic", "mlflow.store.db.utils"):
            logging.getLogger(noisy).setLevel(logging.WARNING)
        with said_plainly(uri):
            MlflowClient(uri).search_experiments(max_results=1)


def refuse_damaged(uri: str) -> None:
    """Raise Unreachable for a sqlite file that is cut short or is no database; needs no MLflow and milliseconds."""
    database = Path(uri.removeprefix(SQLITE))
    if not uri.startswith(SQLITE) or not database.is_file():
        return
    try:
        with closing(sqlite3.connect(database)) as opened:
            opened.execute("SELECT count(*) FROM sqlite_master")
    except sqlite3.DatabaseError as error:
        if _is_damage(error):
            raise Unreachable(_damaged(uri, str(error))) from None


def experiment_id(uri: str, name: str, home: Path) -> str:
    """The experiment called `name`, made if there is none, and restored if a person has deleted it.

    A server knows where its artifacts lie; those of a database lie in `<home>/mlflow/artifacts`, because MLflow's own
    default would be a folder in the working directory.
    """
    prepare_store(uri)
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(uri)
    found = client.get_experiment_by_name(name)
    if found is None:
        folder = None if is_server(uri) else (home / "mlflow" / "artifacts" / name).resolve().as_uri()
        try:
            return str(client.create_experiment(name, artifact_location=folder))
        except MlflowException:  # another process made it in between; anything else fails in the next line
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":  # MLflow keeps it under its name and refuses new runs in it
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def make_process_wide(uri: str) -> None:
    """Let MLflow resolve addresses like `models:/…` in this process through `uri`.

    MLflow would also write `uri` into the environment, where it could not be told from what the user has set.
    """
    import mlflow

    before = os.environ.get(TRACKING)
    mlflow.set_tracking_uri(uri)
    if before is None:
        os.environ.pop(TRACKING, None)
    else:
        os.environ[TRACKING] = before


@contextmanager
def said_plainly(uri: str) -> Iterator[None]:
    """Raise what goes wrong in MLflow as Unreachable, in one sentence and without credentials."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        if _is_damage(getattr(error, "orig", None)):
            raise Unreachable(_damaged(uri, str(getattr(error, "orig", "")))) from None
        said, where = public(str(error)).strip().partition("\n")[0], _named(uri)
        if _NO_ANSWER.match(said):
            causes = _CAUSE.findall(said)
            why = causes[-1] if causes else said
            raise Unreachable(f"{where} does not answer: {why}; start it, or set {TRACKING} to one that runs") from None
        raise Unreachable(f"{where}: {said}") from None


def _ask(uri: str) -> None:
    """Raise Unreachable unless whoever keeps the store answers."""
    from mlflow import MlflowClient

    try:
        with said_plainly(uri), _impatient():
            MlflowClient(uri).search_experiments(max_results=1)
    except ModuleNotFoundError as error:
        raise Unreachable(f"{_named(uri)}: {error}; install the database's driver") from None


def _is_damage(error: object) -> bool:
    return isinstance(error, sqlite3.DatabaseError) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED


def _damaged(uri: str, said: str) -> str:
    """The ledger of promotions and all artefacts lie elsewhere, so that moving the database loses neither."""
    database = Path(uri.removeprefix(SQLITE))
    aside = shlex.join(["mv", str(database), f"{database}.damaged"])
    return (
        f"{_named(uri)} is damaged ({said}); restore it from a backup, or begin a new one, in which earlier runs are "
        f"not shown and models are registered again: {aside}"
    )


def _named(uri: str) -> str:
    return f"MLflow at {public(uri)}" + (f" ({TRACKING})" if configured() else "")


@contextmanager
def _impatient() -> Iterator[None]:
    """One repeat and a short wait, unless the user has said how MLflow is to wait."""
    asked = {name: value for name, value in _FIRST_CONTACT.items() if name not in os.environ}
    os.environ.update(asked)
    try:
        yield
    finally:
        for name in asked:
            os.environ.pop(name, None)
