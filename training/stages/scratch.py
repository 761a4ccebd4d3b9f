"""The base checkpoint of a recipe's own model: a tokenizer trained on its text, and weights drawn by seed.

What comes out is what a released model would be: safetensors, tokenizer, template and a generation config that
stops where an assistant turn ends. It knows nothing yet; `pretrain` teaches it.
"""

import threading
from pathlib import Path
from typing import Any

from jobs.job import Job
from jobs.progress import Progress
from jobs.run_log import RunLog
from lineage.errors import Interrupted
from recipes.scratch import FromScratch
from training import vocabulary
from training.stages import base

VERSION = 1
CHECKS = {**base.CHECKS, "tokenizer_round_trip": "texts come back from their tokens as they were"}

_ROUND_TRIP_ROWS = 200


def run(job: Job, work: Path, log: RunLog, stop: threading.Event) -> dict[str, Any]:
    """Make the untrained checkpoint of `job.config["model"]` in `work`; returns the record's metrics.

    Inputs are the clean corpora `clean/<source>`. Raises TrainingError or CorpusError, and Interrupted when `stop`
    was set.
    """
    section = FromScratch.model_validate(job.config["model"])
    corpora = {name.removeprefix("clean/"): given.path for name, given in job.inputs.items()}
    rows = sum(_rows(folder) for folder in corpora.values())
    progress = Progress(job.ref, rows, "rows")

    def tick(read: int) -> None:
        if stop.is_set():
            raise Interrupted("stopped; the same job starts the tokenizer again")
        progress.update(read)

    for name, given in job.inputs.items():
        log.dataset(name, given.digest, given.path, _rows(given.path), "tokenizer")
    template = base.read_template(
        Path(job.config["folder"]) / section.tokenizer.chat_template, "model.tokenizer.chat_template"
    )
    tokenizer = vocabulary.train(section.tokenizer, corpora, template, section.sizes.positions, tick)
    tokenizer.save_pretrained(work)
    model = _model(section, tokenizer, work)
    model.save_pretrained(work)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "dtype": section.dtype,
        "positions": section.sizes.positions,
        "vocabulary": section.tokenizer.vocabulary,
        "checks": {
            **base.sound(model, work),
            "tokenizer_round_trip": vocabulary.round_trip(tokenizer, corpora, _ROUND_TRIP_ROWS),
        },
    }


def _model(section: FromScratch, tokenizer: Any, work: Path) -> Any:
    """Random weights, drawn in float32 whatever type they are kept in, so that both types hold the same model."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

    from models.template import ChatTemplate

    sizes = section.sizes
    config = AutoConfig.for_model(
        section.architecture,
        vocab_size=section.tokenizer.vocabulary,
        hidden_size=sizes.hidden,
        intermediate_size=sizes.mlp,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        num_key_value_heads=sizes.kv_heads or sizes.heads,
        max_position_embeddings=sizes.positions,
        rope_parameters={"rope_type": "default", "rope_theta": sizes.rope_theta},
        tie_word_embeddings=sizes.tied_embeddings,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(section.seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    stops = [ChatTemplate.load(work).end_of_turn_id, tokenizer.eos_token_id]
    model.generation_config = GenerationConfig(eos_token_id=stops, pad_token_id=tokenizer.pad_token_id)
    dtype = getattr(torch, section.dtype)
    for weight in model.parameters():
        weight.data = weight.data.to(dtype)
    model.config.dtype = dtype
    return model


def _rows(folder: Path) -> int:
    import pyarrow.parquet as pq

    from corpora.tables.shards import shards_of
    from corpora.tables.tables import ROWS

    return sum(pq.read_metadata(shard).num_rows for shard in shards_of(folder / ROWS))
