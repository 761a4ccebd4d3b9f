"""Which MLflow: the one that `MLFLOW_TRACKING_URI` names, as for every MLflow client, else sqlite in the home folder.

A password in that address stays in the environment, which job processes inherit: job files, tags, messages and links
have the address without it. MLflow itself gets the password of a server apart from the address, because it prints
addresses. Imports no MLflow.
"""

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from lineage.errors import TrainingError

TRACKING, REGISTRY = "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"
SQLITE = "sqlite:///"

_CREDENTIALS = re.compile(r"(?<=://)[^\s?#]*@")
_QUERY = re.compile(r"(://[^\s?]*\?)\S+")


def tracking_uri(home: Path) -> str:
    """Where runs and the registry are; of a server without credentials, which `prepare_store` hands over.

    Raises TrainingError if `MLFLOW_REGISTRY_URI` names another place.
    """
    uri = configured() or f"{SQLITE}{home / 'mlflow' / 'mlflow.db'}"
    registry = os.environ.get(REGISTRY)
    if registry and registry.rstrip("/") != uri.rstrip("/"):
        raise TrainingError(
            f"{REGISTRY} is {public(registry)}, but runs go to {public(uri)}: a version and the runs that it came from "
            f"are kept in one MLflow; unset {REGISTRY}, or set {TRACKING} to the same"
        )
    return public(uri) if is_server(uri) else uri


def configured() -> str | None:
    """The address that the user has set, with its credentials; None where there is none."""
    return os.environ.get(TRACKING) or None


def is_server(uri: str) -> bool:
    """Whether a server keeps runs and artifacts there; else this process opens the database itself."""
    return uri.startswith(("http://", "https://"))


def public(text: str) -> str:
    """An address, or any text with addresses in it, without user names, passwords and queries, which may hold them."""
    return _CREDENTIALS.sub("", _QUERY.sub(r"\1…", text))


def private(uri: str) -> str:
    """The address to connect to: a database's as the environment has it, if that differs by credentials alone."""
    own = configured()
    return own if own is not None and not is_server(own) and public(own) == uri else uri


def hand_over_credentials(uri: str) -> None:
    """Let MLflow find the name and password of the server at `uri` where it looks for them, if its address has them."""
    own = configured()
    if own is None or not is_server(own) or public(own) != uri:
        return
    parts = urlsplit(own)
    for variable, value in (("MLFLOW_TRACKING_USERNAME", parts.username), ("MLFLOW_TRACKING_PASSWORD", parts.password)):
        if value is not None:
            os.environ.setdefault(variable, unquote(value))
