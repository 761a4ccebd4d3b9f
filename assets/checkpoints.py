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
from jobs.job import Job, JobInput
from lineage.hashing import file_digest
from lineage.store import Artifact, Store
from recipes.errors import RecipeError
from recipes.execution import Execution
from recipes.schema import identity
from recipes.scratch import FromScratch
from recipes.sources import Model
from recipes.stages import Stage
from training.stages import base as base_stage
from training.stages import dpo as dpo_stage
from training.stages import grpo as grpo_stage
from training.stages import kto as kto_stage
from training.stages import orpo as orpo_stage
from training.stages import pretrain as pretrain_stage
from training.stages import reward as reward_stage
from training.stages import scratch as scratch_stage
from training.stages import sft as sft_stage

_VERSIONS = {
    "pretrain": pretrain_stage.VERSION,
    "sft": sft_stage.VERSION,
    "reward": reward_stage.VERSION,
    "dpo": dpo_stage.VERSION,
    "kto": kto_stage.VERSION,
    "orpo": orpo_stage.VERSION,
    "grpo": grpo_stage.VERSION,
}


def base_checkpoint(pipeline: Pipeline) -> dg.AssetsDefinition:
    """The model that everything starts from, as safetensors with tokenizer and template."""
    model = pipeline.recipe.model
    return _untrained(pipeline, model) if isinstance(model, FromScratch) else _released(pipeline, model)


def _untrained(pipeline: Pipeline, model: FromScratch) -> dg.AssetsDefinition:
    """The recipe's own model before its first step, with the tokenizer that is trained for it."""
    corpora = {f"clean/{name}": ("clean", name) for name in model.tokenizer.sources}

    @pipeline.asset(
        "base",
        description=f"{model.architecture} of {model.sizes.layers} layers of {model.sizes.hidden}, untrained, with a "
        f"tokenizer of {model.tokenizer.vocabulary:,} tokens from {', '.join(model.tokenizer.sources)}.",
        kinds={"pytorch", "huggingface"},
        code_version=code_version(model, scratch_stage.VERSION),
        ins=pipeline.handles(corpora.values()),
        dagster_type=ARTEFACT,
        checks="scratch",
        pool=GPU,
    )
    def base(
        context: dg.AssetExecutionContext,
        config: Rebuild,
        store: dg.ResourceParam[Store],
        tracker: dg.ResourceParam[Tracker],
        launcher: dg.ResourceParam[Launcher],
        **clean: Artifact,
    ) -> Delivered:
        inputs = {name: clean["__".join(node)] for name, node in corpora.items()}
        with plain_failures():
            digests = {name: artifact.digest for name, artifact in inputs.items()}
            template = _template_digest(pipeline, "model.tokenizer.chat_template", model.tokenizer.chat_template)
            payload = {
                "node": "base",
                "version": scratch_stage.VERSION,
                "config": identity(model),
                "inputs": {**digests, **template},
            }
            job = Job(
                kind="scratch",
                recipe=pipeline.name,
                node="base",
                ref="base",
                home=store.home,
                payload=payload,
                overridden=any(artifact.overridden for artifact in inputs.values()),
                config={"model": model.model_dump(mode="json"), "folder": str(pipeline.folder)},
                execution=Execution().model_dump(mode="json"),
                inputs={name: JobInput.of(artifact) for name, artifact in inputs.items()},
            )
            artifact = make_by_job(context, store, tracker, launcher, job, force=config.force)
        return delivered("scratch", artifact, links=links(tracker, artifact))

    return base


def _released(pipeline: Pipeline, model: Model) -> dg.AssetsDefinition:
    """A released model, as it is."""

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
            template = _template_digest(pipeline, "model.chat_template", model.chat_template)
            inputs = {"model": observe(model, pipeline.folder, cache), **template}
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


def _template_digest(pipeline: Pipeline, field: str, template: str | None) -> dict[str, str]:
    """Digest of the chat template file that the recipe names, if it names one."""
    if template is None:
        return {}
    path = pipeline.folder / template
    if not path.is_file():
        raise RecipeError(f"{pipeline.path}: {field}: {path} is no file")
    return {"chat_template": file_digest(path)}
