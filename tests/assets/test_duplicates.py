"""What mixtures and preferences are made of: removed rows of their own sources, and nothing of others."""

from pathlib import Path

from assets.corpora import removed_rows
from corpora.duplicates.near import find
from lineage.store import Artifact, Request, Store
from recipes.cleaning import Duplicates
from recipes.execution import CorporaExecution
from tests.corpora.made_duplicates import documents, prose


def searched(store: Store, sources: dict[str, Path]) -> Artifact:
    request = Request("tiny", "distinct", {"sources": sorted(sources)})
    one = CorporaExecution(workers=1)
    return store.build(request, lambda work: find(sources, Duplicates(), work, one), config={}, inputs={})


def test_a_duplicate_elsewhere_changes_no_input_of_a_mixture(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    texts = {seed: " ".join(prose(seed)) for seed in range(3)}
    sources = {
        "books": documents(tmp_path, "books", [texts[0], texts[1]]),
        "notes": documents(tmp_path, "notes", [texts[1].upper(), texts[2]]),
    }
    before = searched(store, sources)
    web = documents(tmp_path, "web", [texts[2], texts[2].upper() + "!"])
    after = searched(store, {**sources, "web": web})
    assert before.digest != after.digest
    digests, files = removed_rows(after, ["books", "notes"])
    assert digests == removed_rows(before, ["books", "notes"])[0]
    assert set(digests) == {"removed/books", "removed/notes"}
    assert digests["removed/books"] != digests["removed/notes"]
    assert all(file.is_file() for file in files.values())
