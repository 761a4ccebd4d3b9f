"""Checkpoints in the MLflow registry: one version per checkpoint, its bytes unchanged.

A checkpoint is logged as a LoggedModel, external until every file has arrived with the bytes of the
record, and only then registered. What a crash left half-done is found again by the checkpoint's digest
and finished. Only weights, configuration, tokenizer and template are copied: safetensors, JSON, text and
jinja, nothing that could run code. What an alias means is left to `evaluation.registry.promotion` and the ledger;
who is champion is asked there (`champion`), never of the alias alone.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import unquote, urlparse

from evaluation.report import Report
from jobs.logged_models import DIGEST, files_arrived, has_files, log_scores, logged_model
from jobs.mlflow_store import experiment_id, make_process_wide, prepare_store
from lineage.errors import EvaluationError
from lineage.hashing import file_digest
from lineage.store import Artifact

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"

_Value = TypeVar("_Value")
_ALLOWED = (".safetensors", ".json", ".jinja", ".txt")
_LOGGED = "models:/"
"""Before a LoggedModel's id: the source of every version made here (MLflow leaves a version's `model_id` empty)."""


@dataclass(frozen=True)
class Registered:
    """A version of a registered model as this code needs it."""

    name: str
    version: str
    source: str
    tags: dict[str, str]

    @classmethod
    def of(cls, version: Any) -> Self:
        """From MLflow's own ModelVersion."""
        return cls(version.name, str(version.version), version.source, dict(version.tags))

    @property
    def checkpoint_digest(self) -> str:
        """As the version's tags say; empty for a version that was not made here."""
        return self.tags.get(DIGEST, "")

    @property
    def model_id(self) -> str:
        """Of the LoggedModel that holds its files."""
        return self.source.removeprefix(_LOGGED)


def registry_client(uri: str) -> "MlflowClient":
    """A client of the registry at `uri`, which is also made this process's own.

    MLflow resolves `models:/` sources through the process-wide URI, even for a client that has another.
    """
    prepare_store(uri)
    make_process_wide(uri)
    from mlflow import MlflowClient

    return MlflowClient(uri, uri)


def aliased(client: "MlflowClient", name: str, alias: str) -> Registered | None:
    """The version that an alias stands on, or None without the alias or the model."""
    return _found(lambda: Registered.of(client.get_model_version_by_alias(name, alias)))


def version_numbered(client: "MlflowClient", name: str, version: str) -> Registered | None:
    """One version of `name`, or None if it is not there (any more)."""
    return _found(lambda: Registered.of(client.get_model_version(name, version)))


def versions_with(client: "MlflowClient", checkpoint_digest: str) -> list[Registered]:
    """The versions that hold this checkpoint, of whatever registered model."""
    return [Registered.of(v) for v in client.search_model_versions(f"tags.`{DIGEST}` = '{checkpoint_digest}'")]


def every_version(client: "MlflowClient") -> Iterator[Registered]:
    """All versions of all registered models."""
    page = client.search_model_versions()
    while True:
        yield from (Registered.of(version) for version in page)
        if not page.token:
            return
        page = client.search_model_versions(page_token=page.token)


def version_with(client: "MlflowClient", name: str, checkpoint_digest: str) -> Registered | None:
    """The version of `name` that holds this checkpoint, or None."""
    found = client.search_model_versions(f"name = '{name}' and tags.`{DIGEST}` = '{checkpoint_digest}'")
    return Registered.of(found[0]) if found else None


def logged_of(client: "MlflowClient", version: Registered) -> "LoggedModel | None":
    """The LoggedModel that holds a version's files, or None if it was deleted."""
    return _found(lambda: client.get_logged_model(version.model_id))


def find_or_create(
    client: "MlflowClient", uri: str, home: Path, name: str, checkpoint: Artifact, tags: Mapping[str, str]
) -> Registered:
    """The version of `name` that holds `checkpoint`, its logged bytes compared with the record.

    tags: what a new version says about itself. Raises EvaluationError if the registry's copy is damaged.
    """
    files = _files(checkpoint)
    found = version_with(client, name, checkpoint.digest)
    if found is not None:
        _verify(client, found.model_id, files)
        return found
    experiment = experiment_id(uri, f"temper/{checkpoint.recipe}", home)
    model_id = _logged(client, experiment, checkpoint, files)
    import mlflow

    _ensure_model(client, name)
    return Registered.of(mlflow.register_model(f"{_LOGGED}{model_id}", name, tags=dict(tags)))


def verify_copy(client: "MlflowClient", version: Registered, checkpoint: Artifact) -> None:
    """Compare a version's files with the checkpoint's record, byte by byte. Raises EvaluationError."""
    _verify(client, version.model_id, _files(checkpoint))


def sizes(checkpoint: Artifact) -> dict[str, int]:
    """Bytes by name of the files that the registry's copy of a checkpoint has."""
    return {name: checkpoint.record["files"][name]["size"] for name in _files(checkpoint)}


def record_scores(client: "MlflowClient", uri: str, home: Path, recipe: str, source: str, report: Report) -> None:
    """The report's scores as metrics of the LoggedModel that is a version's source; once for each report.

    They belong to the MLflow run that made the report, or to one made now where there is none.
    """
    experiment = experiment_id(uri, f"temper/{recipe}", home)
    model = client.get_logged_model(source.removeprefix(_LOGGED))
    runs = client.search_runs([experiment], f"tags.report_id = '{report.report_id}'", max_results=1)
    tags = {"temper.kind": "scores", "report_id": report.report_id}
    run = runs[0] if runs else client.create_run(experiment, run_name=f"scores {report.report_id[:8]}", tags=tags)
    log_scores(client, run.info.run_id, model, report.scores, report.data_digests)
    if not runs:
        client.set_terminated(run.info.run_id)


def _logged(client: "MlflowClient", experiment: str, checkpoint: Artifact, files: Mapping[str, str]) -> str:
    """Id of the LoggedModel that holds the checkpoint, made or finished now if need be."""
    model = logged_model(client, experiment, checkpoint)
    if not has_files(model):
        for file in files:
            client.log_model_artifact(model.model_id, str(checkpoint.path / file))
    _verify(client, model.model_id, files)
    files_arrived(client, model)
    return str(model.model_id)


def _found(look_up: Callable[[], _Value]) -> _Value | None:
    from mlflow.exceptions import MlflowException

    try:
        return look_up()
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def _ensure_model(client: "MlflowClient", name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _files(checkpoint: Artifact) -> dict[str, str]:
    """sha256 by name of the files at the checkpoint's root that are part of its digest and allowed to leave."""
    files = {
        name: entry["sha256"]
        for name, entry in checkpoint.record["files"].items()
        if "/" not in name and not entry["informative"] and name.endswith(_ALLOWED)
    }
    if not any(name.endswith(".safetensors") for name in files):
        raise EvaluationError(
            f"{checkpoint.path}: no safetensors file at its root, so there are no weights to register"
        )
    return files


def _verify(client: "MlflowClient", model_id: str, files: Mapping[str, str]) -> None:
    """Compare the registry's copy with the record. Raises EvaluationError that names the first file that differs."""
    location = client.get_logged_model(model_id).artifact_location
    with _local(location) as folder:
        for name, sha256 in files.items():
            if not (folder / name).is_file() or file_digest(folder / name) != sha256:
                raise EvaluationError(f"{location}/{name}: the registry's copy is not the checkpoint's; restore it")


@contextmanager
def _local(location: str) -> Iterator[Path]:
    """The artifacts at `location` as a folder: themselves if they are local files, else a download that is deleted."""
    from mlflow.artifacts import download_artifacts

    address = urlparse(location)
    if address.scheme in ("", "file"):
        yield Path(unquote(address.path))
        return
    with TemporaryDirectory() as folder:
        yield Path(download_artifacts(artifact_uri=location, dst_path=folder))
