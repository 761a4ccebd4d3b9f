"""Supervised fine-tuning: a checkpoint and a mixture in, a better checkpoint out.

The mixture brings token ids and, for each token, whether the loss counts it. These reach TRL untouched: no
template, no truncation, no packing, and the first batch is compared with the mixture before a step is taken.
"""

import threading
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
from training.stages import frame

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = 4
CHECKS = {
    "labels_equal_mask": "the loss counts exactly the tokens that the mixture marks as supervised",
    "pads_by_length": "every row is attended to over its length, also where pad and end of turn are one token",
    "end_of_turn_learned": "every row has an end of turn among what the loss counts",
    "one_bos": "no row begins twice",
    "rows_apart": "a row that is packed with others is read as it is alone",
    **frame.SAVED,
}


def run(job: Job, work: Path, log: RunLog, stop: threading.Event) -> dict[str, Any]:
    """Train `job.inputs["start"]` on `job.inputs["mixture"]` into `work`; returns the record's metrics.

    Raises TrainingError, and Interrupted when `stop` was set.
    """
    from trl import SFTConfig

    from training.loop import batching
    from training.losses import head
    from training.weights import lora_config

    stage = Sft.model_validate(job.config)
    table = rows.read(job.inputs["mixture"].path / "rows.parquet", ("input_ids", "supervised", "n_tokens"))
    plan = rows.plan(table["n_tokens"].to_pylist(), stage)
    training = frame.Training(job, work, log, stop, stage, "mixture", plan)
    template = ChatTemplate.load(training.start)
    with training.begun():
        trainer = batching.TrainerOfLikeLengths(
            micro_batches=training.micro_batches(),
            model=training.model(),
            args=SFTConfig(
                **training.arguments(),
                packing=False,
                padding_free=stage.execution.packing,
                dataset_kwargs={"skip_prepare_dataset": True},
            ),
            train_dataset=_dataset(table).select(plan.order),
            processing_class=template.tokenizer,
            peft_config=lora_config(stage.lora),
        )
        head.score_only_supervised(trainer)
        checks = _first_batch_checks(*training.first_batch(trainer), table, template)
        if stage.execution.packing:
            checks["rows_apart"] = isolation_check(trainer, table, plan, stage.precision)
        trained = training.train(trainer, checks, samples=True)
        return training.save(trainer, trained, checks, table["input_ids"][plan.order[0]].as_py())


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


def isolation_check(trainer: Any, table: "pa.Table", plan: rows.StepPlan, precision: str) -> Check:
    """Compare every row of a packed micro-batch with itself alone. Raises TrainingError if they are not apart."""
    from training.invariants import isolation

    mine = trainer.micro_batches[trainer.args.process_index :: trainer.args.world_size]
    places = isolation.densest(mine, [1] * len(plan.order))
    batch = trainer.data_collator([trainer.train_dataset[place] for place in places])
    taken = [[table["input_ids"][plan.order[place]].as_py()] for place in places]
    found = isolation.documents_apart(trainer, batch, isolation.placed(batch, taken), precision)
    return required(
        found,
        f"packed rows see each other: they are {found['value']:.2g} of their size from what they are alone; "
        "leave execution.packing out, or set another execution.attention",
    )


def _first_batch_checks(
    batch: dict[str, Any], taken: list[int], table: "pa.Table", template: ChatTemplate
) -> dict[str, Check]:
    """What must hold of the first batch, as the loss will see it."""
    first = [(table["input_ids"][row].as_py(), table["supervised"][row].as_py()) for row in taken]
    return {
        "labels_equal_mask": labels.labels_equal_mask(batch, first),
        "pads_by_length": labels.pads_by_length(batch, first),
        "end_of_turn_learned": labels.end_of_turn_learned(batch, template.end_ids),
        "one_bos": labels.one_bos([ids for ids, _ in first], template.tokenizer.bos_token_id, template.begins_turns),
    }
