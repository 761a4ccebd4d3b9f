"""Preferences, pairs or single answers: rules of a recipe over clean corpora."""

import dagster as dg

from assets.corpora import answers_digest
from assets.duplicates import NODE, removed_rows
from assets.errors import plain_failures
from assets.handles import ARTEFACT, Delivered, delivered
from assets.launch import Rebuild
from assets.making import links, make_here
from assets.pipeline import Pipeline, code_version
from assets.tracking import Tracker
from corpora.feedback import preferences as pairing
from lineage.store import Artifact, Request, Store
from recipes.mixtures import Preferences
from recipes.schema import identity


def preferences_of(pipeline: Pipeline, name: str, preferences: Preferences) -> dg.AssetsDefinition:
    """One set of them, tokenised with the base model's tokenizer and template."""
    named = list(dict.fromkeys(rule.source for rule in preferences.rules))
    rules = ", ".join(f"{rule.source} ({rule.rule})" for rule in preferences.rules)
    checks, what = {
        "pairs": ("preferences", "Chosen and rejected answers"),
        "unpaired": ("unpaired", "Good and bad answers"),
    }[preferences.holds]
    splits = pipeline.recipe.splits.model_dump(mode="json")

    @pipeline.asset(
        "preferences",
        name,
        description=f"{what} from {rules}.",
        kinds={"parquet"},
        code_version=code_version(preferences, pairing.VERSION, splits=splits, versions=pairing.versions()),
        ins=pipeline.handles([("base",), (NODE,), *(("clean", source) for source in named)]),
        dagster_type=ARTEFACT,
        checks=checks,
    )
    def judged(
        context: dg.AssetExecutionContext,
        config: Rebuild,
        store: dg.ResourceParam[Store],
        tracker: dg.ResourceParam[Tracker],
        base: Artifact,
        distinct: Artifact,
        **clean: Artifact,
    ) -> Delivered:
        corpora = {source: clean[f"clean__{source}"] for source in named}
        sources = {source: pipeline.recipe.sources[source] for source in named}
        folders = {source: artifact.path for source, artifact in corpora.items()}
        with plain_failures():
            digests, removed = removed_rows(distinct, corpora)
            inputs = {"base": base.digest, **{f"clean/{n}": artifact.digest for n, artifact in corpora.items()}}
            inputs |= digests
            for rule in preferences.rules:
                inputs |= answers_digest(pipeline, rule.answers)
            payload = {
                "node": "preferences",
                "version": pairing.versions(),
                "config": {**identity(preferences), "splits": splits},
                "inputs": inputs,
            }
            overridden = any(artifact.overridden for artifact in (base, distinct, *corpora.values()))
            artifact = make_here(
                context,
                store,
                tracker,
                Request(pipeline.name, f"preferences/{name}", payload, overridden),
                lambda work, _run: pairing.build_preferences(
                    preferences,
                    folders,
                    sources,
                    base.path,
                    pipeline.folder,
                    work,
                    removed=removed,
                    splits=pipeline.recipe.splits,
                ),
                config=preferences.model_dump(mode="json"),
                inputs=inputs,
                ref=f"preferences/{name}",
                force=config.force,
            )
        return delivered(checks, artifact, links=links(tracker, artifact))

    return judged
