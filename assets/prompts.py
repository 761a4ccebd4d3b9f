"""Prompts that a model learns on by rewards: rows of clean corpora with their verifiers."""

from typing import Any

import dagster as dg

from assets.duplicates import NODE, removed_rows
from assets.errors import plain_failures
from assets.handles import ARTEFACT, Delivered, delivered
from assets.launch import Rebuild
from assets.making import links, make_here
from assets.pipeline import Pipeline
from assets.tracking import Tracker
from corpora import splits as splitting
from corpora.feedback import prompts as prompting
from corpora.sources import observe
from lineage.errors import CorpusError
from lineage.hashing import fingerprint
from lineage.store import Artifact, Request, Store
from recipes.mixtures import Prompts

_CODE_VERSION_CHARACTERS = 12


def prompts_of(pipeline: Pipeline, name: str, prompts: Prompts) -> dg.AssetsDefinition:
    """One set of prompts, tokenised with the base model's tokenizer and template."""
    splits = pipeline.recipe.splits
    identity: dict[str, Any] = {
        "version": {"prompts": prompting.VERSION, "splits": splitting.VERSION},
        "config": {**prompts.model_dump(mode="json", exclude={"punkt"}), "splits": splits.model_dump(mode="json")},
    }

    @pipeline.asset(
        "prompts",
        name,
        description=f"Prompts of {', '.join(prompts.sources)}, with what their answers are checked by.",
        kinds={"parquet"},
        code_version=fingerprint(identity)[:_CODE_VERSION_CHARACTERS],
        ins=pipeline.handles([("base",), (NODE,), *(("clean", source) for source in prompts.sources)]),
        dagster_type=ARTEFACT,
        checks="prompts",
    )
    def asked(
        context: dg.AssetExecutionContext,
        config: Rebuild,
        store: dg.ResourceParam[Store],
        tracker: dg.ResourceParam[Tracker],
        base: Artifact,
        distinct: Artifact,
        **clean: Artifact,
    ) -> Delivered:
        cache = store.home / "cache"
        corpora = {source: clean[f"clean__{source}"] for source in prompts.sources}
        with plain_failures():
            digests, removed = removed_rows(distinct, corpora)
            _sources_unchanged(pipeline, corpora, store)
            inputs = {"base": base.digest, **{f"clean/{n}": artifact.digest for n, artifact in corpora.items()}}
            inputs |= digests
            if prompts.punkt is not None:
                inputs["punkt"] = observe(prompts.punkt, pipeline.folder, cache)
            overridden = any(artifact.overridden for artifact in (base, distinct, *corpora.values()))
            rows = [
                prompting.Asked(source, pipeline.recipe.sources[source], artifact.path, removed.get(source))
                for source, artifact in corpora.items()
            ]
            artifact = make_here(
                context,
                store,
                tracker,
                Request(
                    pipeline.name, f"prompts/{name}", {"node": "prompts", **identity, "inputs": inputs}, overridden
                ),
                lambda work, _run: prompting.build_prompts(
                    prompts, rows, base.path, pipeline.folder, cache, work, splits
                ),
                config=prompts.model_dump(mode="json"),
                inputs=inputs,
                ref=f"prompts/{name}",
                force=config.force,
            )
        count = {"dagster/row_count": artifact.metrics["prompts"]}
        return delivered("prompts", artifact, metadata=count, links=links(tracker, artifact))

    return asked


def _sources_unchanged(pipeline: Pipeline, corpora: dict[str, Artifact], store: Store) -> None:
    """Verifiers are read from the sources again, so these must be what their clean corpora were made from."""
    for source, artifact in corpora.items():
        now = observe(pipeline.recipe.sources[source], pipeline.folder, store.home / "cache")
        if now != artifact.record["inputs"]["raw"]:
            raise CorpusError(f"source '{source}' changed after clean/{source} was made: materialize that first")
