"""Reports: a checkpoint scored by the recipe's suite. The same checkpoint is scored once, whatever its name."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import dagster as dg

from assets.errors import plain_failures
from assets.handles import ARTEFACT, Delivered, delivered
from assets.launch import Rebuild
from assets.making import Launcher, links, make_by_job
from assets.pipeline import GPU, Pipeline, code_version
from assets.tracking import Tracker
from evaluation import suite
from evaluation.registry.promotion import champion
from evaluation.report import Report
from jobs.job import Job, JobInput
from lineage.errors import EvaluationError
from lineage.store import Artifact, Store
from recipes.suite import Evaluation

_AUTOMATIC = dg.AutomationCondition.eager() & dg.AutomationCondition.all_deps_blocking_checks_passed()


def report_on(pipeline: Pipeline, checkpoint: str) -> dg.AssetsDefinition:
    """The report of one checkpoint of this recipe."""

    @_report_asset(pipeline, checkpoint, f"Scores of {checkpoint}.", [(checkpoint,)])
    def report(
        context: dg.AssetExecutionContext,
        config: Rebuild,
        store: dg.ResourceParam[Store],
        tracker: dg.ResourceParam[Tracker],
        launcher: dg.ResourceParam[Launcher],
        **handles: Artifact,
    ) -> Delivered:
        with plain_failures():
            job = report_job(pipeline, checkpoint, handles[checkpoint], store)
            artifact = make_by_job(context, store, tracker, launcher, job, force=config.force)
            return delivered("report", artifact, metadata=_scores(artifact), links=links(tracker, artifact))

    return report


def reference_report(pipeline: Pipeline) -> dg.AssetsDefinition:
    """What the candidate must beat: the champion's report, or the base model's while there is no champion.

    When the candidate is the champion already, the report that it once was compared with: a second launch
    then reuses its decision.
    """
    candidate = pipeline.recipe.promotion.candidate

    upstream = list(dict.fromkeys([("base",), (candidate,), ("report", "base")]))

    @_report_asset(pipeline, "reference", "Scores of the champion in the registry, else of the base model.", upstream)
    def reference(
        context: dg.AssetExecutionContext,
        config: Rebuild,
        store: dg.ResourceParam[Store],
        tracker: dg.ResourceParam[Tracker],
        launcher: dg.ResourceParam[Launcher],
        **handles: Artifact,
    ) -> Delivered:
        with plain_failures():
            found = _reference(pipeline, tracker.uri, store, handles["base"], handles[candidate])
            if found.node == "report":
                store.point("report/reference", found)
                artifact = found
            else:
                job = report_job(pipeline, "reference", found, store)
                artifact = make_by_job(context, store, tracker, launcher, job, force=config.force)
            return delivered("report", artifact, metadata=_scores(artifact), links=links(tracker, artifact))

    return reference


def _reference(pipeline: Pipeline, uri: str, store: Store, base: Artifact, candidate: Artifact) -> Artifact:
    """The checkpoint to score as reference, or the report itself where its checkpoint need not be there any more."""
    current = champion(uri, store.home, pipeline.recipe.promotion.registered_model)
    if current is None:
        return base
    if current.checkpoint_digest != candidate.digest:
        opened = store.open(store.home / current.checkpoint_path)
        if opened.digest != current.checkpoint_digest:
            raise EvaluationError(
                f"{opened.path}: holds checkpoint {opened.digest[:12]}, but the champion, version {current.version}, "
                f"was registered from there as {current.checkpoint_digest[:12]}; restore the folder from a backup"
            )
        return replace(opened, overridden=False)
    if current.reference_report is None:
        return base
    recorded = store.open(store.home / current.reference_report)
    return base if recorded.record["inputs"]["checkpoint"] == base.digest else recorded


def report_job(pipeline: Pipeline, name: str, checkpoint: Artifact, store: Store) -> Job:
    """The evaluation of a checkpoint. Its identity holds no name, so that equal bytes share one report."""
    evaluation: Evaluation = pipeline.recipe.evaluation
    cache = store.home / "cache"
    payload = {
        "node": "report",
        "version": suite.VERSION,
        "suite": suite.suite_identity(evaluation, pipeline.folder, cache),
        "inputs": {"checkpoint": checkpoint.digest},
    }
    return Job(
        kind="evaluate",
        recipe=pipeline.name,
        node="report",
        ref=f"report/{name}",
        home=store.home,
        payload=payload,
        overridden=checkpoint.overridden,
        config={
            "suite": evaluation.model_dump(mode="json"),
            "folder": str(pipeline.folder),
            "cache": str(cache),
        },
        execution=evaluation.execution.model_dump(mode="json"),
        inputs={"checkpoint": JobInput.of(checkpoint)},
    )


def _report_asset(
    pipeline: Pipeline, name: str, description: str, upstream: list[tuple[str, ...]]
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    tasks = pipeline.recipe.evaluation.model_copy(update={"reports": []})
    return pipeline.asset(
        "report",
        name,
        description=description,
        kinds={"json"},
        code_version=code_version(tasks, suite.VERSION, **suite.kind_versions(tasks)),
        checks="report",
        ins=pipeline.handles(upstream),
        dagster_type=ARTEFACT,
        pool=GPU,
        automation_condition=_AUTOMATIC,
    )


def _scores(artifact: Artifact) -> dict[str, Any]:
    """The scores as a table."""
    rows = [
        f"| {name} | {result['mean']:.3f} | {result['ci95'][0]:.3f} to {result['ci95'][1]:.3f} | {result['n']} |"
        for name, result in sorted(Report.load(artifact.path).results.items())
    ]
    table = "\n".join(["| metric | mean | 95 % interval | items |", "| --- | --- | --- | --- |", *rows])
    return {"scores": dg.MetadataValue.md(table)}
