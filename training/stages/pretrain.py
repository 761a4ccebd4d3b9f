"""Pretraining: a checkpoint and a mixture of documents in, a checkpoint that has read them out.

The mixture brings documents end to end in full sequences with the place where each begins. The loss counts every
token but those first ones, and documents of one sequence do not see each other: the first batch is compared with
the mixture, and every document of a micro-batch with the same document alone, before a step is taken.
"""

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpora.tables.tables import VALIDATION
from jobs.job import Job
from jobs.run_log import RunLog
from lineage.checks import Check, check
from models import load
from recipes.stages import Pretrain
from training import rows
from training.invariants import required
from training.stages import frame

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = 3
CHECKS = {
    "labels_equal_tokens": "the loss counts every token of the mixture but the first of each document",
    "documents_apart": "a document in a sequence with others is read as it is alone",
    **frame.SAVED,
}

_COLUMNS = ("input_ids", "document_starts", "n_tokens")


def run(job: Job, work: Path, log: RunLog, stop: threading.Event) -> dict[str, Any]:
    """Train `job.inputs["start"]` on `job.inputs["mixture"]` into `work`; returns the record's metrics.

    Raises TrainingError, and Interrupted when `stop` was set.
    """

    from training.losses import head, packed

    stage = Pretrain.model_validate(job.config)
    mixture = job.inputs["mixture"].path
    sequences = rows.read(mixture / "rows.parquet", _COLUMNS)
    plan = rows.plan(sequences["n_tokens"].to_pylist(), stage)
    training = frame.Training(job, work, log, stop, stage, "mixture", plan)
    tokenizer = load.tokenizer(training.start)
    with training.begun():
        trainer = trainer_of(stage, training.model(), tokenizer, sequences, plan, work)
        head.score_only_supervised(trainer)
        checks = {
            "labels_equal_tokens": _labels_check(*training.first_batch(trainer), sequences),
            "documents_apart": isolation_check(trainer, sequences, plan, stage.precision),
        }
        held = _held_out(mixture)
        before = held and packed.perplexity(trainer, held, stage.execution.micro_batch)
        trained = training.train(trainer, checks)
        after = held and packed.perplexity(trainer, held, stage.execution.micro_batch)
        told = {"validation_perplexity": {"before": before, "after": after}} if held else {}
        return training.save(trainer, trained, checks, sequences["input_ids"][plan.order[0]].as_py(), **told)


def trainer_of(
    stage: Pretrain, model: Any, tokenizer: Any, sequences: "pa.Table", plan: rows.StepPlan, work: Path
) -> Any:
    """TRL's trainer on these sequences, whose micro-batches have the form that the model's attention needs."""
    from trl import SFTConfig

    from training import weights
    from training.loop import batching, loop
    from training.losses import packed

    return batching.TrainerOfLikeLengths(
        micro_batches=rows.micro_batches(plan, stage.execution.micro_batch, stage.execution.devices),
        model=model,
        args=SFTConfig(
            **loop.arguments(stage, plan, work),
            packing=False,
            dataset_kwargs={"skip_prepare_dataset": True},
        ),
        data_collator=packed.collator(tokenizer.pad_token_id or 0, model.config._attn_implementation),
        train_dataset=packed.dataset(sequences).select(plan.order),
        processing_class=tokenizer,
        peft_config=weights.lora_config(stage.lora),
    )


def isolation_check(trainer: Any, sequences: "pa.Table", plan: rows.StepPlan, precision: str) -> Check:
    """Compare every document of a micro-batch of many with itself alone. Raises TrainingError if they are not apart."""
    import pyarrow.compute as pc

    from training.invariants import isolation
    from training.losses import packed

    counts = pc.list_value_length(sequences["document_starts"]).to_numpy()[plan.order].tolist()
    mine = trainer.micro_batches[trainer.args.process_index :: trainer.args.world_size]
    places = isolation.densest(mine, counts)
    batch = trainer.data_collator([trainer.train_dataset[place] for place in places])
    documents = isolation.placed(batch, [packed.documents(sequences, plan.order[place]) for place in places])
    found = isolation.documents_apart(trainer, batch, documents, precision)
    return required(
        found,
        f"documents of one sequence see each other: they are {found['value']:.2g} of their size from what they are "
        f"alone; set execution.attention to another than {trainer.model.config._attn_implementation}",
    )


def _held_out(mixture: Path) -> "pa.Table | None":
    """Sequences that the mixture keeps from training, if the recipe's `splits` have any for validation."""
    file = mixture / VALIDATION
    found = rows.read(file, _COLUMNS) if file.is_file() else None
    return found if found is not None and len(found) else None


def _labels_check(batch: dict[str, Any], taken: list[int], sequences: "pa.Table") -> Check:
    """Compare the first batch, as the loss will see it, with the mixture's own sequences, token by token."""
    from training.invariants import isolation
    from training.losses import packed

    seen = {name: batch[name].flatten().tolist() for name in ("input_ids", "labels", "position_ids")}
    labels = [rows.NOT_SUPERVISED] * len(seen["labels"])
    wrong = 0
    for start, ids in isolation.placed(batch, [packed.documents(sequences, row) for row in taken]):
        end = start + len(ids)
        wrong += seen["input_ids"][start:end] != ids
        wrong += seen["position_ids"][start:end] != list(range(len(ids)))
        labels[start + 1 : end] = ids[1:]
    wrong += seen["labels"] != labels
    found = check(
        not wrong and "attention_mask" not in batch,
        len(taken),
        "labels and positions of the first batch (its sequences counted here) are the mixture's tokens "
        "and their places in their documents; the loss leaves out the first of each document",
    )
    return required(found, "the batches that the trainer uses are not the mixture's sequences; this trl cannot be used")
