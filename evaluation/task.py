"""What a task of a suite is to the runner: prepared first, run later, answered with one outcome.

Preparing reads and checks everything that the task needs (rows, resources), for all tasks before the
model is loaded, so that nothing is found missing after an hour of generation. Running needs the model.
Here too is how rows come from the files of an origin, and how some of them are drawn.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from corpora.reading import lines
from corpora.sources import fetch
from evaluation.report import Sample
from lineage.errors import EvaluationError
from lineage.hashing import fingerprint
from models.answering import LoadedModel, Tick
from recipes.sources import Origin


@dataclass(frozen=True)
class Place:
    """Where a task finds its data: the recipe's folder, the cache of origins, a scratch folder of its own."""

    folder: Path
    cache: Path
    scratch: Path


@dataclass(frozen=True)
class Outcome:
    """What running a task gave.

    health: counts of what can go wrong: `nonfinite` (items with a NaN or an infinite probability), `empty`
    and `cut` (answers without text, answers stopped by the token limit), `truncated` (prompts that lost
    their beginning), `constant` (1 if every item got the same choice). tokens: read and written by the model.
    details: findings (JSON) that are no score and no fault, as a judge's preference for the first answer; a person
    reads them by their names. faults: why the outcome cannot be trusted, beyond what the counts of health say.
    """

    samples: list[Sample]
    health: dict[str, int]
    tokens: int
    details: dict[str, Any] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


class Prepared(Protocol):
    """A task that has all it needs but the model. `facts` (JSON) say what was measured and how."""

    @property
    def items(self) -> Sequence[Any]: ...

    @property
    def facts(self) -> dict[str, Any]: ...

    @property
    def unit(self) -> str: ...

    def run(self, model: LoadedModel, tick: Tick) -> Outcome: ...


@dataclass(frozen=True)
class Rows:
    """Distinct rows of an origin in file order, and the digest of their bytes."""

    rows: list[dict[str, Any]]
    digest: str
    duplicates: int


def read_rows(where: str, origin: Origin, place: Place) -> Rows:
    """All rows of an origin's files, as a source's rows are read (`corpora.reading.lines`), exact repeats dropped.

    Raises EvaluationError that names file and line, never the text; CorpusError if the files cannot be had.
    """
    fetched = fetch(origin, place.folder, place.cache)
    seen: dict[str, dict[str, Any]] = {}
    read = 0
    for file in fetched.files:
        for row in lines.read_rows(file):
            if isinstance(row, lines.BadRow):
                raise EvaluationError(f"{where}: {row.file}:{row.line}: {row.reason}; mend the row or take it out")
            read += 1
            seen.setdefault(fingerprint(row.value), row.value)
    if not seen:
        raise EvaluationError(f"{where}: {origin.uri} holds no rows")
    return Rows(list(seen.values()), fetched.digest, read - len(seen))


def draw(where: str, rows: Sequence[dict[str, Any]], limit: int | None, seed: int) -> list[dict[str, Any]]:
    """`limit` rows drawn uniformly without replacement by `seed`, in file order; all rows without a limit."""
    if limit is None:
        return list(rows)
    if limit > len(rows):
        raise EvaluationError(f"{where}.limit: {limit} items asked for, the data holds {len(rows)}")
    return [rows[index] for index in sorted(random.Random(seed).sample(range(len(rows)), limit))]
