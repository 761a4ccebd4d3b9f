"""Pretraining: a checkpoint and a mixture of documents in, a checkpoint that has read them out.

The mixture brings documents end to end in full sequences with the place where each begins. The loss counts every
token but those first ones, and documents of one sequence do not see each other: the first batch is compared with
the mixture, and a packed document with the same document alone, before a step is taken.
"""

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpora.tables import VALIDATION
from lineage.job import Job
from recipes.stages import Pretrain
from training import TrainingError, rows
from training.tracking import RunLog

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = 2

_COLUMNS = ("input_ids", "document_starts", "n_tokens")


def run(job: Job, work: Path, log: RunLog, stop: threading.Event) -> dict[str, Any]:
    """Train `job.inputs["start"]` on `job.inputs["mixture"]` into `work`; returns the record's metrics.

    Raises TrainingError, and Interrupted when `stop` was set.
    """
    began = time.monotonic()
    from transformers import AutoTokenizer
    from trl import SFTConfig

    from training import batching, head, loop, packed, weights

    stage = Pretrain.model_validate(job.config)
    start = job.inputs["start"].path
    given = job.inputs["mixture"]
    sequences = rows.read(given.path / "rows.parquet", _COLUMNS)
    plan = rows.plan(sequences["n_tokens"].to_pylist(), stage)
    log.dataset(stage.mixture, given.digest, given.path, len(sequences), "training")
    tokenizer = AutoTokenizer.from_pretrained(start)
    with loop.memory_explained(stage, plan):
        trainer = batching.TrainerOfLikeLengths(
            micro_batches=rows.micro_batches(plan, stage.execution.micro_batch, stage.execution.devices),
            model=weights.load_for_training(start, stage),
            args=SFTConfig(
                **loop.arguments(stage, plan, work),
                packing=False,
                dataset_kwargs={"skip_prepare_dataset": True},
            ),
            data_collator=packed.Collator(tokenizer.pad_token_id or 0),
            train_dataset=packed.dataset(sequences).select(plan.order),
            processing_class=tokenizer,
            peft_config=weights.lora_config(stage.lora),
        )
        head.score_only_supervised(trainer)
        rows.must_fit(plan, trainer.model.config)
        batch = loop.first_batch(trainer)
        checks = {
            "labels_equal_tokens": _labels_check(batch, sequences, loop.first_rows(trainer, plan)),
            "documents_apart": packed.isolation_check(trainer, stage.precision),
        }
        if not checks["documents_apart"]["passed"]:
            raise TrainingError("documents of one sequence see each other; this transformers cannot be used")
        held = _held_out(given.path)
        before = held and packed.perplexity(trainer, held, stage.execution.micro_batch)
        trained = loop.train(trainer, plan, job, work, log, stop)
        after = held and packed.perplexity(trainer, held, stage.execution.micro_batch)
        checks |= weights.save(trainer.model, start, work, sequences["input_ids"][plan.order[0]].as_py())
    return {
        **trained.metrics,
        **({"validation_perplexity": {"before": before, "after": after}} if held else {}),
        "wall_s": time.monotonic() - began,
        "checks": checks,
    }


def _held_out(mixture: Path) -> "pa.Table | None":
    """Sequences that the mixture keeps from training, if the recipe's `splits` have any for validation."""
    file = mixture / VALIDATION
    found = rows.read(file, _COLUMNS) if file.is_file() else None
    return found if found is not None and len(found) else None


def _labels_check(batch: dict[str, Any], sequences: "pa.Table", order: list[int]) -> dict[str, Any]:
    """Compare the first batch, as the loss will see it, with the mixture's own sequences, token by token."""
    wrong = 0
    for place in range(len(batch["labels"])):
        ids, starts = (sequences[name][order[place]].as_py() for name in ("input_ids", "document_starts"))
        pad = batch["labels"].shape[1] - len(ids)
        expected = [rows.NOT_SUPERVISED if i in starts else token for i, token in enumerate(ids)]
        positions = [i - max(start for start in starts if start <= i) for i in range(len(ids))] + list(range(pad))
        wrong += batch["labels"][place].tolist() != expected + [rows.NOT_SUPERVISED] * pad
        wrong += batch["input_ids"][place].tolist()[: len(ids)] != ids
        wrong += batch["position_ids"][place].tolist() != positions
    if wrong or "attention_mask" in batch:
        raise TrainingError(
            "the batches that the trainer uses are not the mixture's sequences; this trl cannot be used"
        )
    return {
        "passed": True,
        "blocking": True,
        "value": len(batch["labels"]),
        "description": "labels and positions of the first batch (its sequences counted here) are the mixture's tokens "
        "and their places in their documents; the loss leaves out the first of each document",
    }
