"""A reward model: a checkpoint and preference pairs in, a checkpoint out that scores whole conversations.

The start checkpoint keeps its layers and gets a head of one number in the place of its words, drawn by seed and
saved with the rest. TRL's trainer raises the score of the chosen conversation over that of the rejected one. Pairs
come as token ids, and the score is read where a conversation ends: both are checked before a step is taken.
"""

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpora.tables.tables import VALIDATION
from jobs.job import Job
from jobs.run_log import RunLog
from lineage.checks import Check
from models import load
from recipes.stages import Reward
from training import rows
from training.invariants import labels
from training.stages import frame

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = 3
CHECKS = {
    **frame.PAIRS_UNTOUCHED,
    "reads_last_token": "the reward of a conversation is read at its last token, however it is padded",
    **frame.SAVED,
}


def run(job: Job, work: Path, log: RunLog, stop: threading.Event) -> dict[str, Any]:
    """Train `job.inputs["start"]` on `job.inputs["preferences"]` into `work`; returns the record's metrics.

    Raises TrainingError, and Interrupted when `stop` was set.
    """
    from datasets import Dataset
    from trl import RewardConfig

    from jobs import group
    from training.losses import scoring
    from training.losses.preference_trainers import ScoreTrainer
    from training.weights import lora_config

    stage = Reward.model_validate(job.config)
    preferences = job.inputs["preferences"].path
    pairs = _whole(rows.read(preferences / "pairs.parquet", rows.PAIR))
    plan = rows.plan([len(c) + len(r) for c, r in zip(*pairs.to_pydict().values(), strict=True)], stage)
    tokenizer = load.tokenizer(job.inputs["start"].path)
    scoring.set_free_pad(tokenizer, pairs.columns)
    loaded = scoring.loader(stage.seed, tokenizer.pad_token_id)
    training = frame.Training(job, work, log, stop, stage, "preferences", plan, loaded, scoring.OWN)
    with training.begun():
        trainer = ScoreTrainer(
            micro_batches=training.micro_batches(),
            model=training.model(),
            args=RewardConfig(**training.arguments(), center_rewards_coefficient=stage.center),
            train_dataset=Dataset(pairs).select(plan.order),
            processing_class=tokenizer,
            peft_config=lora_config(stage.lora, "SEQ_CLS"),
        )
        batch, taken = training.first_batch(trainer)
        checks = {
            "pairs_untouched": _ids_check(batch, taken, pairs),
            "reads_last_token": scoring.last_token_check(trainer, batch, stage.precision),
        }
        trained = training.train(trainer, checks)
        metrics = training.save(
            trainer,
            trained,
            checks,
            pairs["chosen_ids"][plan.order[0]].as_py(),
            accuracy_last=trained.history[-1]["accuracy"],
            margins={"first": trained.history[0]["margin"], "last": trained.history[-1]["margin"]},
        )
        if group.leads():
            scoring.write_pad(work, tokenizer)
        return {**metrics, **_validated(trainer, preferences / VALIDATION, stage.execution.micro_batch)}


def _whole(pairs: "pa.Table") -> "pa.Table":
    """Columns `chosen_ids` and `rejected_ids`, each a prompt with its answer."""
    import pyarrow as pa

    columns = {}
    for name in ("chosen_ids", "rejected_ids"):
        both = zip(pairs["prompt_ids"].to_pylist(), pairs[name].to_pylist(), strict=True)
        columns[name] = pa.chunked_array([pa.array([prompt + answer for prompt, answer in both], pa.list_(pa.int32()))])
    return pa.table(columns)


def _ids_check(batch: dict[str, Any], taken: list[int], pairs: "pa.Table") -> Check:
    """Compare the first batch, as the loss will see it, with the pairs' own ids, token by token."""
    count = len(batch["input_ids"]) // 2
    wrong = 0
    for place in range(count):
        wrong += labels.ids_differ(batch, place, pairs["chosen_ids"][taken[place]].as_py())
        wrong += labels.ids_differ(batch, place + count, pairs["rejected_ids"][taken[place]].as_py())
    return labels.untouched(
        wrong,
        count,
        "ids and masks of the first batch (its pairs counted here) equal those of the preference pairs",
    )


def _validated(trainer: Any, kept: Path, micro_batch: int) -> dict[str, Any]:
    """How often the trained model prefers the chosen answer of pairs that it has not seen, if any were kept."""
    from training.losses import scoring

    if not kept.is_file() or not len(pairs := _whole(rows.read(kept, rows.PAIR))):
        return {}
    return {"validation_pairs": len(pairs), "validation_accuracy": scoring.accuracy(trainer, pairs, micro_batch)}
