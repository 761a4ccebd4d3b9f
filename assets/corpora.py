"""Raw sources, observed, and the clean corpora made of them."""

import warnings
from collections.abc import Iterator

import dagster as dg

from assets.errors import plain_failures
from assets.handles import ARTEFACT, Delivered, delivered
from assets.launch import Rebuild
from assets.making import links, make_here
from assets.pipeline import GPU, Pipeline, code_version
from assets.tracking import Tracker
from corpora.cleaning import clean as cleaning
from corpora.cleaning.steps import needs_tokenizer
from corpora.contamination import screen
from corpora.contamination.items import ITEMS, NODE
from corpora.sources import observe
from lineage.hashing import file_digest
from lineage.store import Artifact, Request, Store
from recipes.cleaning import Phrases
from recipes.errors import RecipeError
from recipes.schema import identity
from recipes.sources import Source

_KINDS = {"pypi": "python", "hf": "huggingface", "gym": "python", "path": "file", "s3": "s3", "gs": "googlecloud"}


def raw_sources(pipeline: Pipeline) -> dg.AssetsDefinition:
    """All sources of a recipe: one observation step that records the data version of each."""
    declared = [
        dg.AssetSpec(
            pipeline.key("raw", name),
            group_name=pipeline.name,
            description=f"{source.uri}, group {source.group}, licence {source.licence}",
            kinds={_KINDS[source.scheme]},
            owners=pipeline.owners,
        )
        for name, source in pipeline.recipe.sources.items()
    ]

    def raw(context: dg.AssetExecutionContext, store: dg.ResourceParam[Store]) -> Iterator[dg.ObserveResult]:
        for key in sorted(context.selected_asset_keys):
            source = pipeline.recipe.sources[key.path[-1]]
            with plain_failures():
                digest = observe(source, pipeline.folder, store.home / "cache")
            yield dg.ObserveResult(
                asset_key=key,
                data_version=dg.DataVersion(digest),
                metadata={"uri": source.uri, "group": source.group, "licence": source.licence, "digest": digest},
            )

    with warnings.catch_warnings(category=dg.BetaWarning, action="ignore"):
        observed: dg.AssetsDefinition = dg.multi_observable_source_asset(
            specs=declared, name=f"{pipeline.name}__raw", can_subset=True
        )(raw)
    return observed


def clean_corpus(pipeline: Pipeline, name: str, source: Source) -> dg.AssetsDefinition:
    """One source, read into the common schema: bad rows, poor ones, repeats and copies of evaluation items out.

    It fetches what it needs. The base model is an input only if a step counts the model's tokens, or scores with it.
    """
    upstream = [(NODE,), *([("base",)] if needs_tokenizer(source) else [])]

    @pipeline.asset(
        "clean",
        name,
        description=f"Rows of {name} in the common schema, without bad rows, repeats and copies of evaluation items.",
        kinds={"parquet"},
        code_version=code_version(
            source,
            cleaning.VERSION,
            screen=screen.VERSION,
            contamination=identity(pipeline.recipe.contamination),
        ),
        ins=pipeline.handles(upstream),
        deps=[pipeline.key("raw", name)],
        dagster_type=ARTEFACT,
        checks="clean",
        pool=GPU if source.difficulty is not None else None,
    )
    def clean(
        context: dg.AssetExecutionContext,
        config: Rebuild,
        store: dg.ResourceParam[Store],
        tracker: dg.ResourceParam[Tracker],
        **made: Artifact,
    ) -> Delivered:
        cache = store.home / "cache"
        items, base = made[NODE], made.get("base")
        with plain_failures():
            inputs = {
                "raw": observe(source, pipeline.folder, cache),
                NODE: items.digest,
                **answers_digest(pipeline, source.answers),
                **_phrases_digests(pipeline, source),
                **({"tokenizer": file_digest(base.path / "tokenizer.json")} if base is not None else {}),
                **({"base": base.digest} if base is not None and source.difficulty is not None else {}),
            }
            artifact = make_here(
                context,
                store,
                tracker,
                clean_request(
                    pipeline, name, source, inputs, overridden=any(artifact.overridden for artifact in made.values())
                ),
                lambda work, _run: cleaning.clean(
                    name,
                    source,
                    pipeline.folder,
                    cache,
                    work,
                    items=items.path / ITEMS,
                    contamination=pipeline.recipe.contamination,
                    checkpoint=base.path if base is not None else None,
                    execution=pipeline.recipe.corpora,
                ),
                config={
                    **source.model_dump(mode="json"),
                    "contamination": pipeline.recipe.contamination.model_dump(mode="json"),
                    "execution": pipeline.recipe.corpora.model_dump(mode="json"),
                },
                inputs=inputs,
                ref=f"clean/{name}",
                force=config.force,
                unfinished=cleaning.UNFINISHED,
            )
        rows = {"dagster/row_count": artifact.metrics["kept"]}
        return delivered("clean", artifact, metadata=rows, links=links(tracker, artifact))

    return clean


def clean_request(
    pipeline: Pipeline, name: str, source: Source, inputs: dict[str, str], *, overridden: bool = False
) -> Request:
    config = {"source": name, **identity(source), "contamination": identity(pipeline.recipe.contamination)}
    payload = {
        "node": "clean",
        "version": cleaning.VERSION,
        "screen": screen.VERSION,
        "config": config,
        "inputs": inputs,
    }
    return Request(pipeline.name, f"clean/{name}", payload, overridden)


def answers_digest(pipeline: Pipeline, answers: str | None) -> dict[str, str]:
    """Digest of a file of answers that a recipe names, as one more input."""
    return {} if answers is None else {f"answers/{answers}": _digest(pipeline, "answers", answers)}


def _phrases_digests(pipeline: Pipeline, source: Source) -> dict[str, str]:
    """Digests of the files of phrases that a source's steps name."""
    files = [step.file for step in source.steps if isinstance(step, Phrases) and step.file is not None]
    return {f"phrases/{file}": _digest(pipeline, "steps.phrases.file", file) for file in files}


def _digest(pipeline: Pipeline, field: str, file: str) -> str:
    path = pipeline.folder / file
    if not path.is_file():
        raise RecipeError(f"{pipeline.path}: {field}: {path} is no file")
    return file_digest(path)
