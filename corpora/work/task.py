"""A task of a step: what to do, in a file, and, once it is done, what came of it in another."""

import json
import os
import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lineage.errors import CorpusError
from lineage.files import atomically
from lineage.hashing import canonical_json
from recipes.execution import CorporaExecution


@dataclass(frozen=True)
class Task:
    """One task of a stage, on disk: what to do, and, once it is done, what came of it."""

    folder: Path
    number: int

    def write(self, call: Callable[[Any], Any], value: Any) -> None:
        with atomically(self._asked) as path:
            path.write_bytes(pickle.dumps((call, value)))

    def run(self) -> None:
        """Do it, and note its result; a CorpusError is a result too, told to the user behind the barrier."""
        call, value = pickle.loads(self._asked.read_bytes())  # noqa: S301 - written by `write`, in the store
        try:
            outcome = {"result": call(value)}
        except CorpusError as error:
            outcome = {"error": str(error)}
        with atomically(self._done) as path:
            path.write_text(canonical_json(outcome), encoding="utf-8")

    @property
    def finished(self) -> bool:
        return self._done.is_file() and "result" in self._outcome()

    def result(self) -> Any:
        """What the task returned. Raises the CorpusError that ended it, or one that says that it never ended."""
        if not self._done.is_file():
            raise CorpusError(f"{self.folder.name}: task {self.number} did not end; its log says why")
        outcome = self._outcome()
        if "error" in outcome:
            raise CorpusError(outcome["error"])
        return outcome["result"]

    def _outcome(self) -> dict[str, Any]:
        outcome: dict[str, Any] = json.loads(self._done.read_text(encoding="utf-8"))
        return outcome

    @property
    def _asked(self) -> Path:
        return self.folder / f"{self.number:06d}.task"

    @property
    def _done(self) -> Path:
        return self.folder / f"{self.number:06d}.json"


def workers_of(execution: CorporaExecution) -> int:
    """Tasks at a time: those of the recipe, or one for each CPU that this process may use."""
    cpus = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return execution.workers or cpus
