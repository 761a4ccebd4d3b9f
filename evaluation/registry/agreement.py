"""Who is champion, as ledger and registry agree; where they do not, nobody is, and a person says which is right.

The ledger is the truth and the registry its shadow. A registry can be emptied, restored from an old copy, edited in
MLflow's UI, or be another home's, and then an alias that is gone would read as "no champion yet" and an alias that
was moved as a champion that no decision made. So the alias is never believed alone: version and checkpoint must be
those of the ledger's last committed line, and the champion's files must still be there.

An interrupted promotion is no disagreement; `evaluation.registry.promotion` settles it before it asks here. What a
person reads is put into words by `evaluation.registry.disagreement`.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from evaluation.registry import disagreement
from evaluation.registry.ledger import Entry, Ledger
from evaluation.registry.registered import (
    CHAMPION,
    PREVIOUS,
    Registered,
    aliased,
    logged_of,
    registry_client,
    sizes,
    verify_copy,
)
from lineage.errors import EvaluationError, StoreError
from lineage.store import Artifact, Store

if TYPE_CHECKING:
    from mlflow import MlflowClient

ADOPTED = "adopted"
"""Verdict of a ledger's line that a person's word made, and no decision."""


class Disagreement(EvaluationError):
    """Ledger and registry do not say the same about the champion; the message says what each says and what to do."""


def stands_on(version: Registered | None, entry: Entry) -> bool:
    """Whether an alias that stands on `version` is where the ledger's line says, with the checkpoint that it says."""
    return version is not None and (version.version, version.checkpoint_digest) == (
        entry.version,
        entry.checkpoint_digest,
    )


def agreed(client: "MlflowClient", uri: str, home: Path, name: str, ledger: Ledger) -> Registered | None:
    """The champion, as ledger and registry both have it; None where both have none. Raises Disagreement.

    An intent that is still open when nobody was champion before it counts as a champion of the ledger: the registry
    is not where that promotion left it, so it cannot be told whether it had moved the alias.
    """
    known = ledger.champion() or ledger.open_intent()
    now = aliased(client, name, CHAMPION)
    if known is None and now is None:
        return None
    if now is None or known is None or not stands_on(now, known):
        raise Disagreement(disagreement.OnChampion(client, uri, home, name, ledger.path, known, now).message())
    _refuse_lost_files(client, uri, home, now)
    return now


def adopt(uri: str, home: Path, registered_model: str) -> Entry:
    """Take the registry's champion for the true one, on a person's word; the ledger keeps its lines and gets one more.

    Raises EvaluationError if there is none, or if it is not, byte for byte, a checkpoint of this home.
    """
    home = home.resolve()
    client, ledger = registry_client(uri), Ledger.of(home, registered_model)
    with ledger.locked():
        now, last = aliased(client, registered_model, CHAMPION), ledger.champion()
        if now is None:
            raise EvaluationError(f"{registered_model}: no version has the alias {CHAMPION}, so there is none to adopt")
        if last is not None and stands_on(now, last):
            return last
        checkpoint = _own_copy(home, now)
        if checkpoint is None:
            raise EvaluationError(f"{registered_model}: version {now.version} is no checkpoint of this home ({home})")
        verify_copy(client, now, checkpoint)
        previous = aliased(client, registered_model, PREVIOUS)
        return ledger.append(
            "committed",
            version=now.version,
            checkpoint_digest=checkpoint.digest,
            decision_digest=now.tags.get("temper.decision_digest", ""),
            verdict=ADOPTED,
            reasons=["A person took the registry's champion for the true one."],
            champion_before=last.version if last else None,
            previous_before=previous.version if previous else None,
        )


def _refuse_lost_files(client: "MlflowClient", uri: str, home: Path, version: Registered) -> None:
    """Raises Disagreement if the version's LoggedModel is deleted, or a file of it is gone or has another size."""
    model = logged_of(client, version)
    if model is None:
        raise Disagreement(disagreement.on_deleted_model(uri, version))
    there = {file.path: file.file_size for file in client.list_logged_model_artifacts(model.model_id)}
    checkpoint = _own_copy(home, version)
    if checkpoint is not None:
        lost = next((name for name, size in sizes(checkpoint).items() if there.get(name) != size), None)
    else:
        lost = None if any(name.endswith(".safetensors") for name in there) else "*.safetensors"
    if lost is not None:
        place = model.artifact_location
        raise Disagreement(disagreement.on_lost_file(uri, home, version, lost, place, checkpoint))


def _own_copy(home: Path, version: Registered) -> Artifact | None:
    """The version's checkpoint in the home's store; None where it was cleared away, the registry's being whole."""
    try:
        found = Store(home).open(home / version.tags.get("temper.checkpoint_path", ""))
    except StoreError:
        return None
    return found if found.digest == version.checkpoint_digest else None
