"""The scores of every checkpoint of a recipe over time, from the store's records, and who was champion when.

Only reports of one suite are put side by side: another one asks other questions. The champions are the ledger's.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.registry.ledger import Ledger
from evaluation.report import REPORT
from lineage.errors import StoreError
from lineage.store import RECORD


@dataclass(frozen=True)
class Scored:
    """One checkpoint's report. node: the stage that made it. champion: it is so now; was_champion: it once was."""

    node: str
    checkpoint_digest: str
    at: str
    results: Mapping[str, Mapping[str, Any]]
    overridden: bool
    champion: bool
    was_champion: bool


@dataclass(frozen=True)
class History:
    """Reports by one suite, oldest first. other_suites: how many of this recipe were made by another."""

    scored: list[Scored]
    other_suites: int


def history(home: Path, recipe: str, registered_model: str, suite_digest: str) -> History:
    """What is known under `home` of the recipe's checkpoints, scored by the suite with this digest.

    Raises EvaluationError if the ledger is damaged.
    """
    champions = _champions(home / "ledger" / f"{registered_model}.jsonl")
    objects = home / "objects" / recipe
    made = {r["digest"]: r for r in _records(objects, "*") if "checkpoint" not in r["inputs"]}
    suites: Counter[str] = Counter()
    found = []
    for record in _records(objects, "report"):
        suites[record["suite"]] += 1
        if record["suite"] != suite_digest:
            continue
        digest = record["inputs"]["checkpoint"]
        maker = made.get(digest)
        found.append(
            Scored(
                node=maker["ref"] if maker else "elsewhere",
                checkpoint_digest=digest,
                at=record["provenance"]["created_at"],
                results=record["metrics"]["results"],
                overridden=record["overridden"],
                champion=bool(champions) and champions[-1] == digest,
                was_champion=digest in champions,
            )
        )
    return History(sorted(found, key=lambda one: (one.at, one.node)), suites.total() - suites[suite_digest])


def _champions(path: Path) -> list[str]:
    """Digests of the checkpoints that became champion, in order."""
    if not path.is_file():
        return []
    return [entry.checkpoint_digest for entry in Ledger(path).entries() if entry.state == "committed"]


def _records(objects: Path, node: str) -> Iterator[dict[str, Any]]:
    """Records of sealed artefacts of a node, with the node's name and, of a report, its suite's digest."""
    for path in sorted(objects.glob(f"{node}/*/{RECORD}")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            record["ref"] = path.parent.parent.name
            if node == "report":
                record["suite"] = json.loads((path.parent / REPORT).read_text(encoding="utf-8"))["suite"]["digest"]
        except (OSError, ValueError) as error:
            raise StoreError(f"{path}: cannot be read: {error}") from None
        yield record
