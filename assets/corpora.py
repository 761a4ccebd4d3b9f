"""What is made of raw text: evaluation items, the clean corpora that are held to them, and what repeats in these."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from assets.pipeline import Pipeline
from corpora.cleaning import clean as cleaning
from corpora.cleaning.steps import needs_tokenizer
from corpora.contamination import items, screen
from corpora.duplicates import near, outcome
from corpora.sources import observe
from lineage.hashing import file_digest
from lineage.node import Given, Node
from lineage.store import Artifact
from recipes.cleaning import Phrases
from recipes.errors import RecipeError
from recipes.schema import identity
from recipes.sources import Source

DISTINCT, BEST_OF_N = "distinct", "best_of_n"


class EvaluationItems(Node):
    """Every item of the suite's data. How many of them a task draws, and what the gate asks, changes nothing here."""

    kind = items.NODE

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline, self._tasks = pipeline, pipeline.recipe.evaluation.tasks
        super().__init__(
            pipeline.name, items.NODE, f"Every item of {', '.join(self._tasks)}, to be kept out of training."
        )

    def version(self) -> dict[str, Any]:
        return {"version": items.VERSION, "config": items.identity_of(self._tasks)}

    def outside(self, given: Given) -> dict[str, str]:
        return items.digests_of(self._tasks, self._pipeline.folder, given.cache)

    def config(self, given: Given) -> dict[str, Any]:
        return items.identity_of(self._tasks)

    def make(self, given: Given, work: Path) -> dict[str, Any]:
        return items.collect(self._tasks, self._pipeline.folder, given.cache, work)

    def shown(self, given: Given, artifact: Artifact) -> dict[str, Any]:
        return {"dagster/row_count": artifact.metrics["items"]}


class CleanCorpus(Node):
    """One source, read into the common schema: bad rows, poor ones, repeats and copies of evaluation items out.

    It fetches what it needs. The base model is an input only if a step counts the model's tokens, or scores with it.
    """

    kind = checks = "clean"
    unfinished = cleaning.UNFINISHED

    def __init__(self, pipeline: Pipeline, source_name: str, source: Source) -> None:
        self._pipeline, self._source_name, self._source = pipeline, source_name, source
        self._contamination = pipeline.recipe.contamination
        self.gpu, self.observes = source.difficulty is not None, (f"raw/{source_name}",)
        super().__init__(
            pipeline.name,
            f"clean/{source_name}",
            f"Rows of {source_name} in the common schema, without bad rows, repeats and copies of evaluation items.",
            (items.NODE, *(("base",) if needs_tokenizer(source) else ())),
        )

    def version(self) -> dict[str, Any]:
        return {
            "config": identity(self._source),
            "version": cleaning.VERSION,
            "screen": screen.VERSION,
            "contamination": identity(self._contamination),
        }

    def identity(self, given: Given) -> dict[str, Any]:
        config = {"source": self._source_name, **identity(self._source), "contamination": identity(self._contamination)}
        return {"version": cleaning.VERSION, "screen": screen.VERSION, "config": config}

    def takes(self, given: Given) -> dict[str, Artifact]:
        scored = "base" in given.artefacts and self._source.difficulty is not None
        return {name: given[name] for name in (items.NODE, *(("base",) if scored else ()))}

    def outside(self, given: Given) -> dict[str, str]:
        base = given.artefacts.get("base")
        return {
            "raw": observe(self._source, self._pipeline.folder, given.cache),
            **answers_digest(self._pipeline, self._source.answers),
            **_phrases_digests(self._pipeline, self._source),
            **({"tokenizer": file_digest(base.path / "tokenizer.json")} if base is not None else {}),
        }

    def config(self, given: Given) -> dict[str, Any]:
        return {
            **self._source.model_dump(mode="json"),
            "contamination": self._contamination.model_dump(mode="json"),
            "execution": self._pipeline.recipe.corpora.model_dump(mode="json"),
        }

    def make(self, given: Given, work: Path) -> dict[str, Any]:
        base = given.artefacts.get("base")
        return cleaning.clean(
            self._source_name,
            self._source,
            self._pipeline.folder,
            given.cache,
            work,
            items=given[items.NODE].path / items.ITEMS,
            contamination=self._contamination,
            checkpoint=base.path if base is not None else None,
            execution=self._pipeline.recipe.corpora,
        )

    def shown(self, given: Given, artifact: Artifact) -> dict[str, Any]:
        return {"dagster/row_count": artifact.metrics["kept"]}


class Distinct(Node):
    """Which rows of the clean corpora that are used say the same, and which of them are left out of training."""

    kind = checks = DISTINCT
    unfinished = near.UNFINISHED

    def __init__(self, pipeline: Pipeline) -> None:
        self._section, self._execution = pipeline.recipe.duplicates, pipeline.recipe.corpora
        named = pipeline.recipe.used_sources()
        super().__init__(
            pipeline.name,
            DISTINCT,
            f"Rows of {', '.join(named)} that say what another says: {self._section.cap} of each kind stays.",
            tuple(f"clean/{source}" for source in named),
        )

    def version(self) -> dict[str, Any]:
        return {"version": near.VERSION, "config": identity(self._section)}

    def config(self, given: Given) -> dict[str, Any]:
        return {**self._section.model_dump(mode="json"), "execution": self._execution.model_dump(mode="json")}

    def make(self, given: Given, work: Path) -> dict[str, Any]:
        return near.find(clean_folders(given), self._section, work, self._execution)

    def shown(self, given: Given, artifact: Artifact) -> dict[str, Any]:
        return {"dagster/row_count": artifact.metrics["kept"]}


def clean_corpora(given: Given) -> dict[str, Artifact]:
    """The clean corpora among what a node is made from, by source; best answers of candidates are such corpora too."""
    return {
        name.partition("/")[2]: made
        for name, made in given.artefacts.items()
        if name.startswith(("clean/", f"{BEST_OF_N}/"))
    }


def clean_folders(given: Given) -> dict[str, Path]:
    return {source: artifact.path for source, artifact in clean_corpora(given).items()}


def removed_rows(distinct: Artifact, sources: Iterable[str]) -> tuple[dict[str, str], dict[str, Path]]:
    """By source the digest, as an input of what is made of it, and the file of the rows that are left out; neither of
    what is not among the sources that were held against each other.

    So a duplicate found in other sources makes nothing stale.
    """
    recorded = distinct.record["files"]
    found = {source: outcome.removed_file(distinct.path, source) for source in sources}
    files = {source: file for source, file in found.items() if file.relative_to(distinct.path).as_posix() in recorded}
    digests = {
        f"removed/{source}": recorded[file.relative_to(distinct.path).as_posix()]["sha256"]
        for source, file in files.items()
    }
    return digests, files


def answers_digest(pipeline: Pipeline, answers: str | None) -> dict[str, str]:
    """Digest of a file of answers that a recipe names, as one more input."""
    return {} if answers is None else {f"answers/{answers}": file_of_recipe(pipeline, "answers", answers)}


def _phrases_digests(pipeline: Pipeline, source: Source) -> dict[str, str]:
    """Digests of the files of phrases that a source's steps name."""
    files = [step.file for step in source.steps if isinstance(step, Phrases) and step.file is not None]
    return {f"phrases/{file}": file_of_recipe(pipeline, "steps.phrases.file", file) for file in files}


def file_of_recipe(pipeline: Pipeline, field: str, file: str) -> str:
    """Digest of a file that a field of the recipe names. Raises RecipeError if there is none."""
    path = pipeline.folder / file
    if not path.is_file():
        raise RecipeError(f"{pipeline.path}: {field}: {path} is no file")
    return file_digest(path)
