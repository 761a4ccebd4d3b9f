"""What a checkpoint has answered before, so that no question is computed twice.

An evaluation that was stopped or killed goes on at the sample, and one that was made before is free. An answer
belongs to everything that decides it: the checkpoint's bytes, dtype, device, the libraries' versions and the
question's own tokens and limits. In types other than float32 it also depends on the questions that shared its batch,
and then belongs to all of them together. Kept are token ids and numbers, never text, in one SQLite file a checkpoint
below the cache folder; deleting it costs time and nothing else. Answers of a server belong to its address, the name
that it gives the model and the version that it reports as well; their text is kept as numbers, too.
"""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lineage.hashing import fingerprint

VERSION = 1
"""Of the decoding in `local` and `likelihood`: raised when the same question would get another answer."""


class Answered:
    """Answers (JSON) of one checkpoint by question. `found` counts those that were there already."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(file, timeout=60, isolation_level=None)
        self._database.execute("pragma journal_mode = wal")
        self._database.execute("pragma synchronous = normal")  # a power cut may lose the last answers, never the file
        self._database.execute("create table if not exists answers (question text primary key, answer text not null)")
        self.found = 0

    @classmethod
    def by(cls, folder: Path, **identity: Any) -> "Answered":
        """Those of whatever `identity` (JSON) names."""
        return cls(folder / f"{fingerprint({'decoding': VERSION, **identity})}.sqlite")

    @classmethod
    def of(cls, folder: Path, checkpoint_digest: str, dtype: str, device: str) -> "Answered":
        """Those of a checkpoint as it is loaded now."""
        libraries = {name: version(name) for name in ("torch", "transformers")}
        return cls.by(folder, checkpoint=checkpoint_digest, dtype=dtype, device=device, **libraries)

    def get(self, questions: Sequence[str]) -> dict[str, Any]:
        """The answers that are known, by question."""
        known = {}
        for question in questions:
            row = self._database.execute("select answer from answers where question = ?", (question,)).fetchone()
            if row is not None:
                known[question] = json.loads(row[0])
        self.found += len(known)
        return known

    def put(self, answers: Mapping[str, Any]) -> None:
        """Keep answers, all of them or none."""
        rows = [(question, json.dumps(answer)) for question, answer in answers.items()]
        self._database.execute("begin immediate")
        self._database.executemany("insert or replace into answers values (?, ?)", rows)
        self._database.execute("commit")
