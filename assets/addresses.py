"""Where people find things in a browser: the Dagster UI, the MLflow UI, and the pages beside the Dagster UI.

Dagster keeps the links of a materialization as they were written, so these have no address in them: `/temper/…` is
answered by the web server that shows them (`orchestration.webserver`), on whatever port. MLflow is another origin and
gets whole addresses, which `dev` brings up to date when it starts (`assets.mlflow_links`).
"""

import json
import os
from collections.abc import Mapping

from jobs.mlflow_uri import configured, is_server, public
from lineage.files import write_json
from lineage.store import home_folder

ROOT = "/temper"
PAGES = f"{ROOT}/pages"

_SERVED = "served.json"


def dagster_url() -> str:
    """Of the Dagster UI: `TEMPER_DAGSTER_URL`, else where `dev` serves it now, else where it does by default."""
    return _address("TEMPER_DAGSTER_URL", "dagster", "http://127.0.0.1:3000")


def mlflow_url() -> str:
    """Of the MLflow UI: `TEMPER_MLFLOW_URL`, else the tracking server's own, else as for Dagster."""
    uri = configured()
    if uri and is_server(uri) and not os.environ.get("TEMPER_MLFLOW_URL"):
        return public(uri).rstrip("/")
    return _address("TEMPER_MLFLOW_URL", "mlflow", "http://127.0.0.1:5000")


def page_path(recipe: str, node: str, fingerprint: str) -> str:
    """Of an artefact's page, on Dagster's web server."""
    return f"{PAGES}/{recipe}/{node}/{fingerprint}"


def mlflow_path(fingerprint: str) -> str:
    """On Dagster's web server: leads on to the MLflow run that made the artefact."""
    return f"{ROOT}/mlflow/{fingerprint}"


def note_served(urls: Mapping[str, str]) -> None:
    """Let other processes on this home folder know where the UIs are served now: {"dagster": …, "mlflow": …}."""
    write_json(home_folder() / _SERVED, dict(urls))


def forget_served() -> None:
    (home_folder() / _SERVED).unlink(missing_ok=True)


def _address(variable: str, name: str, default: str) -> str:
    return (os.environ.get(variable) or _served().get(name, default)).rstrip("/")


def _served() -> dict[str, str]:
    try:
        urls: dict[str, str] = json.loads((home_folder() / _SERVED).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return urls
