"""The parent's side of MLflow: one run per artefact made, under one parent per recipe and Dagster run.

A run is created before the work starts, found again by its fingerprint when an attempt failed or died,
and always ends with a status. Artefacts that are reused make no run. What happens inside a job is
logged by the job (`jobs.run_log`). Each side links to the other: the Dagster run's URL and the artefact's
page are tags (`assets.mlflow_links`), the MLflow run's URL is metadata of the materialization.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from filelock import FileLock

from assets.addresses import dagster_url, mlflow_url, page_path
from assets.mlflow_links import DAGSTER_URL, link_run, relink_run
from assets.pages import has_page, label_of
from jobs import mlflow_names
from jobs.job import Tracking
from jobs.mlflow_store import experiment_id, prepare_store, refuse_damaged, said_plainly
from jobs.mlflow_uri import configured, public, tracking_uri
from lineage.files import write_json
from lineage.provenance import provenance
from lineage.store import Request

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_WORST_FIRST = ("RUNNING", "FAILED", "KILLED", "FINISHED")


@dataclass(frozen=True)
class TrackedRun:
    """An open MLflow run."""

    client: "MlflowClient"
    uri: str
    run_id: str

    @property
    def tracking(self) -> Tracking:
        """What a job is told; credentials it finds in its environment."""
        return Tracking(uri=public(self.uri), run_id=self.run_id)

    def log(self, metrics: Mapping[str, Any]) -> None:
        """The numbers of an artefact's metrics, nested ones by dotted name."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        found = [Metric(name, value, now, 0) for name, value in mlflow_names.numbers(metrics).items()]
        for start in range(0, len(found), mlflow_names.METRICS_AT_ONCE):
            self.client.log_batch(self.run_id, metrics=found[start : start + mlflow_names.METRICS_AT_ONCE])

    def artifact(self, path: Path) -> None:
        self.client.log_artifact(self.run_id, str(path))


class Tracker:
    """MLflow where `jobs.mlflow_uri` says, by default on sqlite under `<home>/mlflow`; notes of runs lie there."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.folder = home / "mlflow"

    @property
    def uri(self) -> str:
        """Raises TrainingError if the environment names two places."""
        return tracking_uri(self._home)

    def check(self) -> None:
        """Raise TrainingError if there is no such MLflow as the user has set, or its file is damaged."""
        uri = self.uri
        if configured():
            prepare_store(uri)
        else:
            refuse_damaged(uri)

    @contextmanager
    def run(
        self,
        context: dg.AssetExecutionContext,
        request: Request,
        *,
        config: Mapping[str, Any],
        inputs: Mapping[str, str],
    ) -> Iterator[TrackedRun]:
        """The MLflow run of one artefact. inputs: digest by name; they are logged as datasets."""
        client = self._client()
        with said_plainly(self.uri):
            with self._locked():
                run_id, parent_id = self._open(client, context, request)
            self._describe(client, run_id, config, inputs)
            status = "FAILED"
            try:
                yield TrackedRun(client, self.uri, run_id)
                if has_page(request.node):
                    page = page_path(request.recipe, request.node, request.fingerprint)
                    link_run(client, run_id, label_of(request.node), dagster_url() + page)
                status = "FINISHED"
            except (dg.DagsterExecutionInterruptedError, KeyboardInterrupt):
                status = "KILLED"
                raise
            finally:
                with self._locked():
                    client.set_terminated(run_id, status)
                    _settle(client, parent_id)

    def end_open_runs(self, dagster_run: str) -> None:
        """KILLED for what a Dagster run whose processes are gone has left RUNNING."""
        if not any((self.folder / "runs").glob("*.json")):
            return
        client = self._client()
        with said_plainly(self.uri), self._locked():
            experiments = [found.experiment_id for found in client.search_experiments()]
            left = f"tags.`dagster.run_id` = '{dagster_run}' and attributes.status = 'RUNNING'"
            for run in client.search_runs(experiments, left):
                client.set_terminated(run.info.run_id, "KILLED")

    def url(self, fingerprint: str) -> str | None:
        """Where the MLflow UI shows the run that made this artefact, if one did in this MLflow."""
        note = self._noted(fingerprint)
        if not self._has(note):
            return None
        return f"{mlflow_url()}/#/experiments/{note['experiment_id']}/runs/{note['run_id']}"

    def relink(self) -> None:
        """Let all links to Dagster in MLflow begin with `dagster_url()`; cheap when they do."""
        now = dagster_url()
        notes = {file: self._noted(file.stem) for file in sorted((self.folder / "runs").glob("*.json"))}
        stale = [file for file, note in notes.items() if self._has(note) and note.get("dagster") != now]
        if not stale:
            return
        client = self._client()
        for file in stale:
            with said_plainly(self.uri), self._locked():
                note = self._noted(file.stem)
                for run_id in (note["run_id"], *note.get("earlier", [])):
                    relink_run(client, run_id, now)
                write_json(file, {**note, "dagster": now})

    def _open(self, client: "MlflowClient", context: dg.AssetExecutionContext, request: Request) -> tuple[str, str]:
        """Find or create the run and its parent; both are RUNNING afterwards."""
        experiment = experiment_id(self.uri, f"temper/{request.recipe}", self._home)
        tags = mlflow_names.tags(_dagster_tags(context))
        dagster_run = tags["dagster.run_id"]
        parent = _find(client, experiment, {"temper.kind": "pipeline", "dagster.run_id": dagster_run})
        if parent is None:
            name = f"{request.recipe} {dagster_run[:8]}"
            parent = client.create_run(experiment, run_name=name, tags={**tags, "temper.kind": "pipeline"})
        tags |= mlflow_names.tags(
            {
                "mlflow.parentRunId": parent.info.run_id,
                "dagster.asset_key": context.asset_key.to_user_string(),
                "temper.kind": request.payload["node"],
                "temper.fingerprint": request.fingerprint,
                "temper.overridden": str(request.overridden).lower(),
            }
        )
        run = _find(client, experiment, {"temper.fingerprint": request.fingerprint}, unfinished=True)
        if run is None:
            name = f"{'/'.join(context.asset_key.path[1:])} {request.fingerprint[:8]}"
            run = client.create_run(experiment, run_name=name, tags=tags)
        for key, value in tags.items():
            client.set_tag(run.info.run_id, key, value)
        for run_id in (run.info.run_id, parent.info.run_id):
            client.update_run(run_id, status="RUNNING")
        self._note_run(request.fingerprint, experiment, run.info.run_id)
        return run.info.run_id, parent.info.run_id

    def _describe(
        self, client: "MlflowClient", run_id: str, config: Mapping[str, Any], inputs: Mapping[str, str]
    ) -> None:
        known = client.get_run(run_id).data.params
        for name, text in mlflow_names.params(config).items():
            if name not in known:
                client.log_param(run_id, name, text)
        datasets = [
            mlflow_names.dataset_input(name, digest, {"digest": digest}, source_type="artefact", context=name)
            for name, digest in inputs.items()
        ]
        client.log_inputs(run_id, datasets)

    def _client(self) -> "MlflowClient":
        prepare_store(self.uri)
        from mlflow import MlflowClient

        return MlflowClient(self.uri, registry_uri=self.uri)

    def _locked(self) -> FileLock:
        self.folder.mkdir(parents=True, exist_ok=True)
        return FileLock(self.folder / "runs.lock")

    @property
    def _store(self) -> str | None:
        """The MLflow that runs are in: None for the home folder's own, which may move with it."""
        uri = configured()
        return public(uri) if uri else None

    def _note_run(self, fingerprint: str, experiment: str, run_id: str) -> None:
        """Keep where this artefact's run is, and where its links lead; of an artefact made again, all its runs."""
        before = self._noted(fingerprint)
        known = [before["run_id"], *before.get("earlier", [])] if self._has(before) else []
        note = {"experiment_id": experiment, "run_id": run_id, "store": self._store, "dagster": dagster_url()}
        write_json(self._note(fingerprint), {**note, "earlier": [other for other in known if other != run_id]})

    def _has(self, note: dict[str, Any]) -> bool:
        """Whether the run of a note is in this MLflow; a note that says nothing is of the home folder's own."""
        return bool(note) and note.get("store") == self._store

    def _noted(self, fingerprint: str) -> dict[str, Any]:
        note = self._note(fingerprint)
        return json.loads(note.read_text(encoding="utf-8")) if note.is_file() else {}

    def _note(self, fingerprint: str) -> Path:
        return self.folder / "runs" / f"{fingerprint}.json"


def _dagster_tags(context: dg.AssetExecutionContext) -> dict[str, str]:
    facts = provenance()
    return {
        "dagster.run_id": context.run_id,
        DAGSTER_URL: f"{dagster_url()}/runs/{context.run_id}",
        "dagster.job": context.job_name,
        "temper.commit": str(facts["commit"]),
        "temper.uncommitted_changes": str(facts["uncommitted_changes"]).lower(),
        "mlflow.user": str(facts["user"]),
    }


def _find(client: "MlflowClient", experiment: str, tags: dict[str, str], *, unfinished: bool = False) -> "Run | None":
    """The newest run with these tags; with `unfinished`, only one that has not ended well."""
    clauses = [f"tags.`{key}` = '{value}'" for key, value in tags.items()]
    if unfinished:
        clauses.append("attributes.status != 'FINISHED'")
    found = client.search_runs([experiment], " and ".join(clauses), max_results=1)
    return found[0] if found else None


def _settle(client: "MlflowClient", parent_id: str) -> None:
    """End the parent with the worst status of its children, unless one of them still runs."""
    experiment = client.get_run(parent_id).info.experiment_id
    children = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent_id}'")
    worst = min((child.info.status for child in children), key=_WORST_FIRST.index)
    if worst != "RUNNING":
        client.set_terminated(parent_id, worst)
