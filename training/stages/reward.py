"""A reward model: a checkpoint and preference pairs in, a checkpoint out that scores whole conversations.

The start checkpoint keeps its layers and gets a head of one number in the place of its words, drawn by seed and
saved with the rest. TRL's trainer raises the score of the chosen conversation over that of the rejected one. Pairs
come as token ids, and the score is read where a conversation ends: both are checked before a step is taken.
"""

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpora.tables.tables import VALIDATION
from jobs.job import Job
from jobs.run_log import RunLog
from lineage.errors import TrainingError
from recipes.stages import Reward
from training import rows

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = 3

_COLUMNS = ("prompt_ids", "chosen_ids", "rejected_ids")


def run(job: Job, work: Path, log: RunLog, stop: threading.Event) -> dict[str, Any]:
    """Train `job.inputs["start"]` on `job.inputs["preferences"]` into `work`; returns the record's metrics.

    Raises TrainingError, and Interrupted when `stop` was set.
    """
    began = time.monotonic()
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import RewardConfig

    from jobs import group
    from training import weights
    from training.loop import loop
    from training.losses import scoring
    from training.losses.preferred import ScoreTrainer

    stage = Reward.model_validate(job.config)
    start = job.inputs["start"].path
    given = job.inputs["preferences"]
    pairs = _whole(rows.read(given.path / "pairs.parquet", _COLUMNS))
    plan = rows.plan([len(c) + len(r) for c, r in zip(*pairs.to_pydict().values(), strict=True)], stage)
    log.dataset(stage.preferences, given.digest, given.path, len(pairs), "training")
    tokenizer = AutoTokenizer.from_pretrained(start)
    scoring.set_free_pad(tokenizer, pairs.columns)
    loaded = scoring.loader(stage.seed, tokenizer.pad_token_id)
    with loop.memory_explained(stage, plan, work):
        trainer = ScoreTrainer(
            micro_batches=rows.micro_batches(plan, stage.execution.micro_batch, stage.execution.devices),
            model=weights.load_for_training(start, stage, loaded),
            args=RewardConfig(**loop.arguments(stage, plan, work), center_rewards_coefficient=stage.center),
            train_dataset=Dataset(pairs).select(plan.order),
            processing_class=tokenizer,
            peft_config=weights.lora_config(stage.lora, "SEQ_CLS"),
        )
        rows.must_fit(plan, trainer.model.config)
        batch = loop.first_batch(trainer)
        checks = {
            "pairs_untouched": _ids_check(batch, pairs, loop.first_rows(trainer, plan)),
            "reads_last_token": scoring.last_token_check(trainer, batch, stage.precision),
        }
        trained = loop.train(trainer, plan, job, work, log, stop)
        probe = pairs["chosen_ids"][plan.order[0]].as_py()
        checks |= weights.save(trainer.model, start, work, probe, loaded, scoring.OWN)
        if group.leads():
            scoring.write_pad(work, tokenizer)
        held = given.path / VALIDATION
        validation = _whole(rows.read(held, _COLUMNS)) if held.is_file() else None
        judged = {} if validation is None else _validated(trainer, validation, stage.execution.micro_batch)
    return {
        **trained.metrics,
        "accuracy_last": trained.history[-1]["accuracy"],
        "margins": {"first": trained.history[0]["margin"], "last": trained.history[-1]["margin"]},
        **judged,
        "wall_s": time.monotonic() - began,
        "checks": checks,
    }


def _whole(pairs: "pa.Table") -> "pa.Table":
    """Columns `chosen_ids` and `rejected_ids`, each a prompt with its answer."""
    import pyarrow as pa

    columns = {}
    for name in ("chosen_ids", "rejected_ids"):
        both = zip(pairs["prompt_ids"].to_pylist(), pairs[name].to_pylist(), strict=True)
        columns[name] = pa.chunked_array([pa.array([prompt + answer for prompt, answer in both], pa.list_(pa.int32()))])
    return pa.table(columns)


def _ids_check(batch: dict[str, Any], pairs: "pa.Table", order: list[int]) -> dict[str, Any]:
    """Compare the first batch, as the loss will see it, with the pairs' own ids, token by token."""
    count = len(batch["input_ids"]) // 2
    wrong = 0
    for place in range(count):
        for at, name in ((place, "chosen_ids"), (place + count, "rejected_ids")):
            ids = pairs[name][order[place]].as_py()
            pad = batch["input_ids"].shape[1] - len(ids)
            wrong += batch["input_ids"][at].tolist()[: len(ids)] != ids
            wrong += batch["attention_mask"][at].tolist() != [1] * len(ids) + [0] * pad
    if wrong:
        raise TrainingError("the tokens that the trainer uses are not those of the pairs; this trl cannot be used")
    return {
        "passed": True,
        "blocking": True,
        "value": count,
        "description": "ids and masks of the first batch (its pairs counted here) equal those of the preference pairs",
    }


def _validated(trainer: Any, pairs: "pa.Table", micro_batch: int) -> dict[str, Any]:
    """How often the trained model prefers the chosen answer of pairs that it has not seen."""
    from training.losses import scoring

    if not len(pairs):
        return {}
    return {"validation_pairs": len(pairs), "validation_accuracy": scoring.accuracy(trainer, pairs, micro_batch)}
