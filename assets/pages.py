"""The pages that artefacts have, found in the store by what a link says: recipe, node and fingerprint.

Only what is here is ever shown by the web server: one known file of a sealed artefact, with the bytes of its record.
A link's parts are compared with what the store holds; no path is made of them.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from assets.addresses import page_path
from corpora.data_report.page import DATA_REPORT
from corpora.feedback.report import PREFERENCE_REPORT
from evaluation.pages.listing import Listed
from lineage.errors import StoreError
from lineage.hashing import file_digest
from lineage.store import RECORD, Artifact, Store

PAGE = "report.html"
FILES = {"decision": PAGE, "mixture": DATA_REPORT, "preferences": PREFERENCE_REPORT}
"""Page by kind of node: the first part of the node's name."""
LABELS = {"decision": "Decision page", "mixture": "Data report", "preferences": "Preference report"}

_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


def has_page(node: str) -> bool:
    return _kind(node) in FILES


def label_of(node: str) -> str:
    return LABELS[_kind(node)]


def all_pages(store: Store) -> list[Listed]:
    """Every page that the store has, newest first; of what is damaged, none."""
    found = []
    for folder in _folders(store):
        try:
            artifact = store.open(folder)
        except StoreError:
            continue
        if FILES[_kind(artifact.node)] in artifact.record["files"]:
            found.append(_listed(artifact))
    return sorted(found, key=lambda page: page.created_at, reverse=True)


def read_page(store: Store, recipe: str, node: str, fingerprint: str) -> str | None:
    """A page's HTML, or None if there is no such page. Raises StoreError if its bytes are not those recorded."""
    for folder in _folders(store):
        if _names(store, folder) != (recipe, node, fingerprint):
            continue
        artifact = store.open(folder)
        file = folder / FILES[_kind(node)]
        entry = artifact.record["files"].get(file.name)
        if entry is None:
            return None
        if file_digest(file) != entry["sha256"]:
            raise StoreError(f"{file}: its bytes are not those recorded; make {recipe}/{node} again")
        return file.read_text(encoding="utf-8")
    return None


def _folders(store: Store) -> Iterator[Path]:
    """Of the sealed artefacts of kinds that have a page."""
    objects = store.home / "objects"
    for kind in FILES:
        for record in (*objects.glob(f"*/{kind}/*/{RECORD}"), *objects.glob(f"*/{kind}/*/*/{RECORD}")):
            if _FINGERPRINT.fullmatch(record.parent.name):
                yield record.parent


def _names(store: Store, folder: Path) -> tuple[str, str, str]:
    recipe, *node, fingerprint = folder.relative_to(store.home / "objects").parts
    return recipe, "/".join(node), fingerprint


def _listed(artifact: Artifact) -> Listed:
    failed = artifact.failed_checks
    checked = f"failed: {', '.join(failed)}" if failed else "checks passed"
    return Listed(
        recipe=artifact.recipe,
        node=artifact.node,
        label=label_of(artifact.node),
        said=artifact.metrics.get("verdict", checked),
        overridden=artifact.overridden,
        created_at=artifact.record["provenance"]["created_at"],
        path=page_path(artifact.recipe, artifact.node, artifact.fingerprint),
    )


def _kind(node: str) -> str:
    return node.partition("/")[0]
