"""What a registered version rests on: its checkpoint, its decision and the reports that were decided on.

The ledger names checkpoint and decision by digest, the version's tags these and the reports by their place. Whoever
makes an artefact again asks here whether the old one must stay (`lineage.store.Store.settle`).
"""

from pathlib import Path

from evaluation.registry.ledger import Ledger
from evaluation.registry.registered import every_version, registry_client
from lineage.store import Artifact


def rests_on(uri: str, home: Path, artifact: Artifact) -> str | None:
    """A registered version that rests on the artefact, in words; None if none does."""
    home = home.resolve()
    for path in sorted((home / "ledger").glob("*.jsonl")):
        for entry in Ledger(path).entries():
            if artifact.digest in (entry.checkpoint_digest, entry.decision_digest):
                return f"version {entry.version} of {path.stem}"
    place = artifact.path.resolve().relative_to(home).as_posix()
    for version in every_version(registry_client(uri)):
        if {artifact.digest, place} & set(version.tags.values()):
            return f"version {version.version} of {version.name}"
    return None
