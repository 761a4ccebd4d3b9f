"""Between the store and Dagster: handles travel, bytes stay.

The I/O manager notes which artefact an asset handed over in which run, so that a launch override feeds
exactly the rest of its own run. Outside that run the refs decide, which no override ever moves.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.checks import DOES_NOT_APPLY, WARNING_ONLY, declared
from lineage.errors import StoreError
from lineage.files import write_json
from lineage.node import Markdown
from lineage.store import Artifact, Store

if TYPE_CHECKING:
    Delivered = dg.MaterializeResult[Artifact]
else:  # Dagster reads a parametrised annotation as one for a tuple of outputs
    Delivered = dg.MaterializeResult

ARTEFACT = dg.PythonObjectDagsterType(Artifact, name="Artefact", description="Handle of a sealed artefact.")

_LONGEST_TAG = 63  # Dagster's limit of a tag value


class Handles(dg.IOManager):
    """Hands `Artifact`s from asset to asset through `<home>/runs/<run id>/<asset key>.json`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def handle_output(self, context: dg.OutputContext, obj: Artifact | None) -> None:
        if obj is None:
            return
        note = {"object": obj.path.relative_to(self._store.home).as_posix(), "overridden": obj.overridden}
        write_json(self._note(context.run_id, context.asset_key), note)

    def load_input(self, context: dg.InputContext) -> Artifact:
        """What the upstream asset handed over in this run (or the run that this one retries), else its ref."""
        key = context.asset_key
        upstream = context.upstream_output
        note = self._note(upstream.run_id, key) if upstream is not None else None
        if note is not None and note.is_file():
            return noted_artifact(self._store, note)
        recipe, *node = key.path
        artifact = self._store.ref(recipe, "/".join(node))
        if artifact is None:
            raise dg.Failure(
                description=f"{key.to_user_string()} has not been made yet: materialize it first, or all of {recipe}",
                allow_retries=False,
            )
        return artifact

    def _note(self, run_id: str, key: dg.AssetKey) -> Path:
        return note_path(self._store.home, run_id, key)


def note_path(home: Path, run_id: str, key: dg.AssetKey) -> Path:
    """Where a run notes the artefact that it materialized under `key`."""
    return home / "runs" / run_id / f"{'__'.join(key.path)}.json"


def noted_artifact(store: Store, note: Path) -> Artifact:
    """The artefact of a note. Raises dg.Failure if it is gone."""
    noted = json.loads(note.read_text(encoding="utf-8"))
    try:
        return replace(store.open(store.home / noted["object"]), overridden=noted["overridden"])
    except StoreError as error:
        raise dg.Failure(description=str(error), allow_retries=False) from None


def delivered(
    kind: str | None,
    artifact: Artifact,
    *,
    metadata: Mapping[str, Any] | None = None,
    links: Mapping[str, str] | None = None,
) -> Delivered:
    """The materialization of an artefact: handle, data version, checks, and what people look at."""
    tags = {"fingerprint": artifact.fingerprint[:_LONGEST_TAG]}
    if artifact.overridden:
        tags["overridden"] = "true"
    return dg.MaterializeResult(
        value=artifact,
        data_version=dg.DataVersion(artifact.digest),
        check_results=results(kind, artifact.metrics),
        tags=tags,
        metadata={
            **{name: dg.MetadataValue.url(url) for name, url in (links or {}).items()},
            "reused": artifact.reused,
            "overridden": artifact.overridden,
            **({"again": artifact.again} if artifact.again else {}),
            "path": dg.MetadataValue.path(str(artifact.path)),
            "fingerprint": artifact.fingerprint,
            **shown(metadata or {}),
            **shown({name: value for name, value in artifact.metrics.items() if name != "checks"}),
        },
    )


def shown(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts as metadata: Markdown and scalars as they are, the rest as JSON."""
    return {
        name: dg.MetadataValue.md(value)
        if isinstance(value, Markdown)
        else value
        if isinstance(value, int | float | str | bool)
        else dg.MetadataValue.json(value)
        for name, value in facts.items()
        if value is not None
    }


def specs(kind: str | None, key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """The checks of one node; what fails a blocking one is not built upon."""
    return [
        dg.AssetCheckSpec(name, asset=key, description=text, blocking=name not in WARNING_ONLY)
        for name, text in declared(kind).items()
    ]


def results(kind: str | None, metrics: Mapping[str, Any]) -> list[dg.AssetCheckResult]:
    """A result for each declared check of this kind of node."""
    reported: Mapping[str, Any] = metrics.get("checks", {})
    return [_result(name, reported.get(name)) for name in declared(kind)]


def _result(name: str, reported: Mapping[str, Any] | None) -> dg.AssetCheckResult:
    if reported is None and name in DOES_NOT_APPLY:
        return dg.AssetCheckResult(check_name=name, passed=True, description=DOES_NOT_APPLY[name])
    if reported is None:
        return dg.AssetCheckResult(check_name=name, passed=False, description="not reported by the node's maker")
    return dg.AssetCheckResult(
        check_name=name,
        passed=bool(reported["passed"]),
        description=reported["description"],
        severity=dg.AssetCheckSeverity.WARN if name in WARNING_ONLY else dg.AssetCheckSeverity.ERROR,
        metadata={"value": reported["value"]},
    )
