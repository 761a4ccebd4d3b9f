"""The state folder (`TEMPER_HOME`), ready for use; the telemetry of every library off. Imports nothing heavy."""

import os
import shutil
from pathlib import Path

from lineage.holding import ON_BEHALF_OF
from lineage.store import home_folder

_SHIPPED = Path(__file__).with_name("dagster.yaml")
_QUIET = {
    "DAGSTER_DISABLE_TELEMETRY": "yes",
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def prepare_home() -> Path:
    """Make the state folder usable, point this process and its children at it, and return it."""
    home = home_folder()
    dagster_home = home / "dagster"
    dagster_home.mkdir(parents=True, exist_ok=True)
    if not (dagster_home / "dagster.yaml").is_file():
        whole = dagster_home / f"dagster.yaml.{os.getpid()}"  # never half of it, where another command reads it too
        shutil.copyfile(_SHIPPED, whole)
        whole.replace(dagster_home / "dagster.yaml")
    os.environ.update(_QUIET, TEMPER_HOME=str(home), DAGSTER_HOME=str(dagster_home))
    return home


def work_for(run_id: str) -> None:
    """Locks that this process and its children hold from now on say for which run."""
    os.environ[ON_BEHALF_OF] = f"run {run_id[:8]}"


def log_of(home: Path, run_id: str) -> Path:
    """What the processes of a run write, other than its progress."""
    return home / "runs" / f"{run_id}.log"
