"""The promotion ledger: one append-only file per registered model, each line chained to the one before.

MLflow's aliases have no history and no compare-and-swap; this file is what says who was champion when,
by which decision, and whether a promotion that was begun was finished. A line is canonical JSON with
the hash of the previous line inside, so that a line changed or taken out later is noticed. Lines are
synced to disk before the step they announce is taken. Callers hold the ledger's lock, which is the promotion's.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

from filelock import FileLock
from pydantic import BaseModel, ConfigDict

from lineage.errors import EvaluationError
from lineage.files import fsync
from lineage.hashing import canonical_json, fingerprint

GENESIS = "0" * 64
_LOCK_SECONDS = 600.0

State = Literal["intent", "committed", "aborted", "challenger"]


class Entry(BaseModel):
    """One line. `champion_before` and `previous_before` are the versions that the aliases stood on; None for none."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    sequence: int
    at: str
    state: State
    version: str
    checkpoint_digest: str
    decision_digest: str
    verdict: str
    reasons: list[str]
    champion_before: str | None
    previous_before: str | None
    before: str
    hash: str


class Ledger:
    """The ledger in `path`. A last line cut short by a crash was never acted on and is dropped on append."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, home: Path, registered_model: str) -> Self:
        """The ledger of a registered model under a home folder."""
        return cls(home / "ledger" / f"{registered_model}.jsonl")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else reads the aliases to act on them, moves one or appends a line in the meantime."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_suffix(".lock"), timeout=_LOCK_SECONDS):
            yield

    def entries(self) -> list[Entry]:
        """All entries, oldest first. Raises EvaluationError at the first line that breaks the chain."""
        found: list[Entry] = []
        before = GENESIS
        for number, line in enumerate(self._whole_lines(), start=1):
            try:
                entry = Entry.model_validate(json.loads(line))
            except ValueError:
                raise EvaluationError(
                    f"{self.path}:{number}: not a ledger line; restore the file from a copy"
                ) from None
            if entry.before != before or entry.hash != _hash(entry.model_dump()) or entry.sequence != number:
                raise EvaluationError(f"{self.path}:{number}: changed after it was written; restore it from a copy")
            before = entry.hash
            found.append(entry)
        return found

    def champion(self) -> Entry | None:
        """The last line that made a version champion, if there is one."""
        return next((entry for entry in reversed(self.entries()) if entry.state == "committed"), None)

    def open_intent(self) -> Entry | None:
        """The promotion that was begun and neither committed nor aborted, if there is one."""
        last = next((e for e in reversed(self.entries()) if e.state != "challenger"), None)
        return last if last is not None and last.state == "intent" else None

    def append(
        self,
        state: State,
        *,
        version: str,
        checkpoint_digest: str,
        decision_digest: str,
        verdict: str,
        reasons: list[str],
        champion_before: str | None,
        previous_before: str | None,
    ) -> Entry:
        """Add one line and sync it to disk before returning."""
        earlier = self.entries()
        values: dict[str, Any] = {
            "sequence": len(earlier) + 1,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "state": state,
            "version": version,
            "checkpoint_digest": checkpoint_digest,
            "decision_digest": decision_digest,
            "verdict": verdict,
            "reasons": reasons,
            "champion_before": champion_before,
            "previous_before": previous_before,
            "before": earlier[-1].hash if earlier else GENESIS,
        }
        entry = Entry(**values, hash=_hash(values))
        self._write(canonical_json(entry.model_dump()) + "\n")
        return entry

    def resolve(self, intent: Entry, state: Literal["committed", "aborted"]) -> Entry:
        """Say how an intent ended."""
        kept = intent.model_dump(exclude={"sequence", "at", "state", "before", "hash"})
        return self.append(state, **kept)

    def _whole_lines(self) -> list[bytes]:
        """Lines that end in a newline: what follows the last newline was never synced, so never acted on."""
        data = self.path.read_bytes() if self.path.is_file() else b""
        return data.split(b"\n")[:-1]

    def _write(self, line: str) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        whole = sum(len(text) + 1 for text in self._whole_lines())
        with self.path.open("ab") as file:
            file.truncate(whole)
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())
        fsync(self.path.parent)


def _hash(values: dict[str, Any]) -> str:
    return fingerprint({key: value for key, value in values.items() if key != "hash"})
