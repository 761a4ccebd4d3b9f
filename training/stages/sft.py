"""Supervised fine-tuning: a checkpoint and a mixture in, a better checkpoint out.

The mixture brings token ids and, for each token, whether the loss counts it. These reach TRL untouched: no
template, no truncation, no packing, and the first batch is compared with the mixture before a step is taken.
"""

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.job import Job
from jobs.run_log import RunLog
from lineage.checks import Check
from lineage.errors import TrainingError
from models.template import ChatTemplate
from recipes.stages import Sft
from training import rows
from training.invariants import labels, required

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = 4


def run(job: Job, work: Path, log: RunLog, stop: threading.Event) -> dict[str, Any]:
    """Train `job.inputs["start"]` on `job.inputs["mixture"]` into `work`; returns the record's metrics.

    Raises TrainingError, and Interrupted when `stop` was set.
    """
    began = time.monotonic()
    from trl import SFTConfig

    from training import weights
    from training.loop import batching, loop
    from training.losses import head

    stage = Sft.model_validate(job.config)
    start = job.inputs["start"].path
    given = job.inputs["mixture"]
    table = rows.read(given.path / "rows.parquet", ("input_ids", "supervised", "n_tokens"))
    plan = rows.plan(table["n_tokens"].to_pylist(), stage)
    template = ChatTemplate.load(start)
    log.dataset(stage.mixture, given.digest, given.path, len(table), "training")
    with loop.memory_explained(stage, plan, work):
        trainer = batching.TrainerOfLikeLengths(
            micro_batches=rows.micro_batches(plan, stage.execution.micro_batch, stage.execution.devices),
            model=weights.load_for_training(start, stage),
            args=SFTConfig(
                **loop.arguments(stage, plan, work),
                packing=False,
                padding_free=stage.execution.packing,
                dataset_kwargs={"skip_prepare_dataset": True},
            ),
            train_dataset=_dataset(table).select(plan.order),
            processing_class=template.tokenizer,
            peft_config=weights.lora_config(stage.lora),
        )
        head.score_only_supervised(trainer)
        rows.must_fit(plan, trainer.model.config)
        checks = _first_batch_checks(loop.first_batch(trainer), table, loop.first_rows(trainer, plan), template)
        if stage.execution.packing:
            checks["rows_apart"] = isolation_check(trainer, table, plan, stage.precision)
        trained = loop.train(trainer, plan, job, work, log, stop, loop.samples_of(stage, given.path, trainer, work))
        probe = table["input_ids"][plan.order[0]].as_py()
        checks |= weights.save(trainer.model, start, work, probe)
    return {
        **trained.metrics,
        "wall_s": time.monotonic() - began,
        "checks": checks,
    }


def _dataset(table: "pa.Table") -> Any:
    """Token ids with labels: the id where the loss counts it, else the label that the loss leaves out."""
    import numpy as np
    import pyarrow as pa
    from datasets import Dataset

    ids, supervised = (table[name].combine_chunks() for name in ("input_ids", "supervised"))
    if not ids.offsets.equals(supervised.offsets):
        raise TrainingError("rows.parquet: input_ids and supervised differ in length; make the mixture again")
    flat = ids.values.to_numpy(zero_copy_only=False)
    wanted = np.where(supervised.values.to_numpy(zero_copy_only=False), flat, rows.NOT_SUPERVISED)
    columns = {"input_ids": ids, "labels": pa.ListArray.from_arrays(ids.offsets, pa.array(wanted, pa.int32()))}
    return Dataset(pa.table(columns))


def isolation_check(trainer: Any, table: "pa.Table", plan: rows.Plan, precision: str) -> Check:
    """Compare every row of a packed micro-batch with itself alone. Raises TrainingError if they are not apart."""
    from training.invariants import isolation

    mine = trainer.micro_batches[trainer.args.process_index :: trainer.args.world_size]
    places = isolation.densest(mine, [1] * len(plan.order))
    batch = trainer.data_collator([trainer.train_dataset[place] for place in places])
    taken = [[table["input_ids"][plan.order[place]].as_py()] for place in places]
    found = isolation.documents_apart(trainer, batch, isolation.placed(batch, taken), precision)
    if not found["passed"]:
        raise TrainingError(
            f"packed rows see each other: they are {found['value']:.2g} of their size from what they are alone; "
            "leave execution.packing out, or set another execution.attention"
        )
    return found


def _first_batch_checks(
    batch: dict[str, Any], table: "pa.Table", taken: list[int], template: ChatTemplate
) -> dict[str, Any]:
    """What must hold of the first batch, as the loss will see it, before a step is taken. Raises TrainingError."""
    first = [(table["input_ids"][row].as_py(), table["supervised"][row].as_py()) for row in taken]
    found = {
        "labels_equal_mask": labels.labels_equal_mask(batch, first),
        "pads_by_length": labels.pads_by_length(batch, first),
        "end_of_turn_learned": labels.end_of_turn_learned(batch, template.end_of_turn_id),
        "one_bos": labels.one_bos([ids for ids, _ in first], template.tokenizer.bos_token_id, template.begins_turns),
    }
    return {name: required(check) for name, check in found.items()}
