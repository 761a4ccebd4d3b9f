"""Checkpoints: the base model and every training stage, each made by a job process."""

from typing import Any

import dagster as dg

from assets.curves import curve
from assets.errors import plain_failures
from assets.handles import ARTEFACT, Delivered, delivered
from assets.launch import Launch, Rebuild, resolve_stage
from assets.making import Launcher, links, make_by_job
from assets.pipeline import GPU, Pipeline, code_version
from assets.tracking import Tracker
from corpora.sources import observe
from lineage.hashing import file_digest
from lineage.job import Job, JobInput
from lineage.store import Artifact, Store
from recipes.execution import Execution
from recipes.load import RecipeError
from recipes.schema import identity
from recipes.stages import Stage
from training import base as base_stage
from training import dpo as dpo_stage
from training import grpo as grpo_stage
from training import sft as sft_stage

_VERSIONS = {"sft": sft_stage.VERSION, "dpo": dpo_stage.VERSION, "grpo": grpo_stage.VERSION}


def base_checkpoint(pipeline: Pipeline) -> dg.AssetsDefinition:
    """The model that everything starts from, as safetensors with tokenizer and template."""
    model = pipeline.recipe.model

    @pipeline.asset(
        "base",
        description=f"{model.uri} in {model.dtype}, licence {model.licence}.",
        kinds={"pytorch", "huggingface"},
        code_version=code_version(model, base_stage.VERSION),
        dagster_type=ARTEFACT,
        checks="base",
        pool=GPU,
    )
    def base(
        context: dg.AssetExecutionContext,
        config: Rebuild,
        store: dg.ResourceParam[Store],
        tracker: dg.ResourceParam[Tracker],
        launcher: dg.ResourceParam[Launcher],
    ) -> Delivered:
        cache = store.home / "cache"
        with plain_failures():
            inputs = {"model": observe(model, pipeline.folder, cache), **_template_digest(pipeline)}
            payload = {
                "node": "base",
                "version": base_stage.VERSION,
                "config": identity(model),
                "inputs": inputs,
            }
            job = Job(
                kind="base",
                recipe=pipeline.name,
                node="base",
                ref="base",
                home=store.home,
                payload=payload,
                config={
                    "model": model.model_dump(mode="json"),
                    "folder": str(pipeline.folder),
                    "cache": str(cache),
                },
                execution=Execution().model_dump(mode="json"),
                inputs={},
            )
            artifact = make_by_job(context, store, tracker, launcher, job, force=config.force)
        return delivered("base", artifact, links=links(tracker, artifact))

    return base


def stage_checkpoint(pipeline: Pipeline, name: str, stage: Stage) -> dg.AssetsDefinition:
    """The checkpoint of one training stage, whatever its kind."""
    inputs = stage.inputs()
    data = ", ".join("/".join(node) for role, node in inputs.items() if role != "start")

    @pipeline.asset(
        name,
        description=f"{stage.kind.upper()} of {stage.start} on {data}.",
        kinds={"pytorch", "huggingface"},
        code_version=code_version(stage, _VERSIONS[stage.kind]),
        ins=pipeline.handles(inputs.values()),
        dagster_type=ARTEFACT,
        checks=stage.kind,
        pool=GPU,
    )
    def checkpoint(
        context: dg.AssetExecutionContext,
        config: Launch,
        store: dg.ResourceParam[Store],
        tracker: dg.ResourceParam[Tracker],
        launcher: dg.ResourceParam[Launcher],
        **handles: Artifact,
    ) -> Delivered:
        given = {role: handles["__".join(node)] for role, node in inputs.items()}
        with plain_failures():
            asked = resolve_stage(pipeline, name, config)
            job = stage_job(pipeline, name, asked, given, store)
            artifact = make_by_job(context, store, tracker, launcher, job, force=config.force)
        return delivered(asked.kind, artifact, metadata=curve(artifact), links=links(tracker, artifact))

    return checkpoint


def stage_job(pipeline: Pipeline, name: str, asked: Stage, inputs: dict[str, Artifact], store: Store) -> Job:
    """The job of a stage as asked for: overridden if its payload is not the recipe's own, or its inputs are."""
    differs = identity(asked) != identity(pipeline.recipe.stages[name])
    payload: dict[str, Any] = {
        "node": asked.kind,
        "version": _VERSIONS[asked.kind],
        "config": identity(asked),
        "inputs": {role: artifact.digest for role, artifact in inputs.items()},
    }
    return Job(
        kind=asked.kind,
        recipe=pipeline.name,
        node=name,
        ref=name,
        home=store.home,
        payload=payload,
        overridden=differs or any(artifact.overridden for artifact in inputs.values()),
        config=asked.model_dump(mode="json"),
        execution=asked.execution.model_dump(mode="json"),
        inputs={role: JobInput.of(artifact) for role, artifact in inputs.items()},
    )


def _template_digest(pipeline: Pipeline) -> dict[str, str]:
    """Digest of the chat template file that the recipe puts in place of the model's own."""
    template = pipeline.recipe.model.chat_template
    if template is None:
        return {}
    path = pipeline.folder / template
    if not path.is_file():
        raise RecipeError(f"{pipeline.path}: model.chat_template: {path} is no file")
    return {"chat_template": file_digest(path)}
