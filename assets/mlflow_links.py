"""Links in MLflow that lead to Dagster and to pages: tags, and links in descriptions, which can be clicked.

They are whole addresses, so they are brought up to date when Dagster is served elsewhere (`Tracker.relink`). A
description is a person's text: only the link in it is ours.
"""

import re
from typing import TYPE_CHECKING

from assets.addresses import ROOT

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

DAGSTER_URL, PAGE_URL = "dagster.url", "temper.page"
_NOTE = "mlflow.note.content"
"""The tag that MLflow shows as a run's description, as Markdown."""
_GONE = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "INVALID_STATE")
"""What MLflow says of a run that a person has deleted."""
_LINK = re.compile(r"\[[^\]]*\]\(\S*" + ROOT + r"/\S*\)")


def link_run(client: "MlflowClient", run_id: str, label: str, url: str) -> None:
    """Give a run its page: as a tag, and in its description."""
    client.set_tag(run_id, PAGE_URL, url)
    note = client.get_run(run_id).data.tags.get(_NOTE, "")
    client.set_tag(run_id, _NOTE, _linked(note, label, url))


def link_version(client: "MlflowClient", name: str, version: str, label: str) -> None:
    """Link the page that a registered version's tag names in its description."""
    known = client.get_model_version(name, version)
    url = known.tags.get(PAGE_URL)
    described = known.description or ""
    if url and (text := _linked(described, label, url)) != described:
        client.update_model_version(name, version, text)


def relink_run(client: "MlflowClient", run_id: str, dagster_url: str) -> None:
    """Let a run's links begin with `dagster_url`, and those of its parent and of versions with the same page."""
    run = _run(client, run_id)
    if run is None:
        return
    parent = _run(client, run.data.tags.get("mlflow.parentRunId", ""))
    for one in (run, parent):
        if one is not None and DAGSTER_URL in one.data.tags:
            client.set_tag(one.info.run_id, DAGSTER_URL, f"{dagster_url}/runs/{one.data.tags['dagster.run_id']}")
    if (before := run.data.tags.get(PAGE_URL)) is None:
        return
    after = dagster_url + before[before.index(ROOT) :]
    client.set_tag(run_id, PAGE_URL, after)
    client.set_tag(run_id, _NOTE, run.data.tags.get(_NOTE, "").replace(before, after))
    for version in client.search_model_versions(f"tags.`{PAGE_URL}` = '{before}'"):
        client.set_model_version_tag(version.name, version.version, PAGE_URL, after)
        text = (version.description or "").replace(before, after)
        client.update_model_version(version.name, version.version, text)


def _run(client: "MlflowClient", run_id: str) -> "Run | None":
    """The run, unless a person has deleted it."""
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code in _GONE:
            return None
        raise
    return run if run.info.lifecycle_stage == "active" else None


def _linked(text: str, label: str, url: str) -> str:
    """A description with this link in it, in the place of an earlier one if it has one."""
    link = f"[{label}]({url})"
    return _LINK.sub(lambda _: link, text) if _LINK.search(text) else f"{text}\n\n{link}".strip()
