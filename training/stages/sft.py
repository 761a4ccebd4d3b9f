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
_WEIGHED = ["supervised", "loss_weights"]
_COLUMNS = ("input_ids", "n_tokens", *_WEIGHED)
CHECKS = {
    "labels_equal_mask": "the loss counts exactly the tokens that the mixture marks as supervised",
    "pads_by_length": "every row is attended to over its length, also where pad and end of turn are one token",
    "end_of_turn_learned": "every row has an end of turn among what the loss counts",
    "one_bos": "no row begins twice",
    "rows_apart": "a row that is packed with others is read as it is alone",
    "weighed_as_rows_say": "answers count in the loss as much as their rows say",
    **frame.SAVED,
}


def run(job: Job, work: Path, log: RunLog, stop: threading.Event) -> dict[str, Any]:
    """Train `job.inputs["start"]` on `job.inputs["mixture"]` into `work`; returns the record's metrics.

    Raises TrainingError, and Interrupted when `stop` was set.
    """
    from trl import SFTConfig

    from training.loop import batching
    from training.losses import head, weighted
    from training.weights import lora_config

    stage = Sft.model_validate(job.config)
    table = rows.read(job.inputs["mixture"].path / "rows.parquet", _COLUMNS)
    has_weights = table["loss_weights"].null_count < len(table)
    if has_weights:
        weighted.refuse_other_losses(stage.args)
    plan = rows.plan(table["n_tokens"].to_pylist(), stage)
    training = frame.Training(job, work, log, stop, stage, "mixture", plan)
    template = ChatTemplate.load(training.start)
    dataset = _with_weights(_dataset(table), table) if has_weights else _dataset(table)
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
            train_dataset=dataset.select(plan.order),
            processing_class=template.tokenizer,
            peft_config=lora_config(stage.lora),
        )
        if has_weights:
            trainer.data_collator = weighted.Collator(trainer.data_collator)
        head.score_only_supervised(trainer)
        checks = _first_batch_checks(*training.first_batch(trainer), table, template)
        if stage.execution.packing:
            checks["rows_apart"] = isolation_check(trainer, table, plan, stage.precision)
        if has_weights:
            checks["weighed_as_rows_say"] = _weights_check(trainer, table, plan)
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


def _with_weights(dataset: Any, table: "pa.Table") -> Any:
    """The dataset, with what the loss of each token is multiplied by."""
    return dataset.add_column("loss_weights", [_weights_of(row) for row in table.select(_WEIGHED).to_pylist()])


def _weights_of(row: dict[str, Any]) -> list[float]:
    return row["loss_weights"] or [float(counts) for counts in row["supervised"]]


def _weights_check(trainer: Any, table: "pa.Table", plan: rows.StepPlan) -> Check:
    """Of the first micro-batch of this process in which a row has weights, if there is one."""
    from training.losses import weighted

    mine = trainer.micro_batches[trainer.args.process_index :: trainer.args.world_size]
    weights = table["loss_weights"]
    places = next((own for own in mine if any(weights[plan.order[place]].is_valid for place in own)), mine[0])
    taken = [table.slice(plan.order[place], 1).to_pylist()[0] for place in places]
    return weighted.weighed_as_rows_say(trainer, [(row["input_ids"], _weights_of(row)) for row in taken], places)


def isolation_check(trainer: Any, table: "pa.Table", plan: rows.StepPlan, precision: str) -> Check:
    """Compare every row of a packed micro-batch with itself alone. Raises TrainingError if they are not apart."""
    from training.invariants import isolation

    mine = trainer.micro_batches[trainer.args.process_index :: trainer.args.world_size]
    places = isolation.densest(mine, [1] * len(plan.order))
    batch = trainer.data_collator([trainer.train_dataset[place] for place in places])
    batch.pop("loss_weights", None)
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
