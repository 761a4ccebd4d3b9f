"""Searches for duplicates in small clean corpora made on the spot."""

import random
import string
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from corpora.duplicates.near import find
from corpora.duplicates.outcome import removed_file
from corpora.tables.tables import ROWS
from recipes.cleaning import Duplicates
from recipes.execution import CorporaExecution
from tests.corpora.made import cleaned

HERE = CorporaExecution(workers=1)


def prose(seed: int, words: int = 60) -> list[str]:
    """Words that no other seed gives in this order."""
    rng = random.Random(seed)
    return ["".join(rng.choices(string.ascii_lowercase, k=rng.randint(2, 9))) for _ in range(words)]


def changed(words: list[str], *places: int) -> list[str]:
    """The same words, but for those at these places."""
    return [f"other{string.ascii_lowercase[place % 26]}" if place in places else w for place, w in enumerate(words)]


def documents(folder: Path, name: str, texts: list[str]) -> Path:
    return cleaned(folder, name, [{"text": text} for text in texts], format="text")


def searched(
    folder: Path, sources: dict[str, Path], execution: CorporaExecution = HERE, **section: Any
) -> tuple[dict[str, Any], dict[str, list[int]], list[dict[str, Any]]]:
    """Metrics, the numbers of the rows removed of each source, and the lines of clusters.parquet."""
    folder.mkdir(exist_ok=True)
    metrics = find(sources, Duplicates.model_validate(section), folder, execution)
    ids = {name: pq.read_table(path / ROWS)["id"].to_pylist() for name, path in sources.items()}
    removed = {
        name: [ids[name].index(gone) for gone in pq.read_table(removed_file(folder, name))["id"].to_pylist()]
        for name in sources
    }
    return metrics, removed, pq.read_table(folder / "clusters.parquet").to_pylist()
