"""Kahneman-Tversky optimisation (Ethayarajh et al. 2024): answers that are each good or bad, in no pairs.

The reference is the start checkpoint, as in DPO. How far the policy has moved from it is estimated on each prompt
with the answer to another one: the rows of a forward pass lend each other their answers. So the number of rows in a
forward pass, which several processes may share, is part of the loss, and of the recipe. Rows come as token ids and
reach the loss untouched.
"""

import threading
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.job import Job
from jobs.run_log import RunLog
from lineage.checks import Check, check
from lineage.errors import TrainingError
from models import load
from recipes.stages import Kto
from training import rows
from training.invariants import labels, required
from training.stages import frame

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = 3
CHECKS = {
    "answers_untouched": "the trainer sees the tokens and labels of the answers, all of them and no others",
    **frame.REFERENCE_IS_START,
    **frame.SAVED,
}

_COLUMNS = ("prompt_ids", "completion_ids", "label")
_TOLERANCE = 1e-4


def run(job: Job, work: Path, log: RunLog, stop: threading.Event) -> dict[str, Any]:
    """Train `job.inputs["start"]` on `job.inputs["preferences"]` into `work`; returns the record's metrics.

    Raises TrainingError, and Interrupted when `stop` was set.
    """
    from datasets import Dataset
    from trl import KTOConfig

    from training import weights
    from training.losses import head
    from training.losses.preference_trainers import UnpairedTrainer

    asked = Kto.model_validate(job.config)
    shared = asked.kl_rows // asked.execution.devices
    stage = asked.model_copy(update={"execution": asked.execution.model_copy(update={"micro_batch": shared})})
    table = job.inputs["preferences"].path / "unpaired.parquet"
    answers = rows.read(table, _COLUMNS)
    good = sum(answers["label"].to_pylist())
    if not 0 < good < len(answers):
        raise TrainingError(f"{table}: {good} of {len(answers)} answers are good; kto needs both kinds")
    plan = rows.plan(_lengths(answers), stage)
    batches = _micro_batches(len(answers), stage)
    ordered = _with_kl_answers(answers.take(plan.order), stage.kl_rows)
    training = frame.Training(job, work, log, stop, stage, "preferences", plan)
    with training.begun():
        trainer = UnpairedTrainer(
            micro_batches=batches,
            model=training.model(),
            ref_model=None if stage.lora else training.model(),
            args=KTOConfig(
                **training.arguments(),
                beta=stage.beta,
                loss_type=stage.loss,
                desirable_weight=stage.desirable_weight,
                undesirable_weight=stage.undesirable_weight,
            ),
            train_dataset=Dataset(ordered),
            processing_class=load.tokenizer(training.start),
            peft_config=weights.lora_config(stage.lora),
        )
        head.score_only_supervised(trainer)
        batch, _ = training.first_batch(trainer)
        checks = {
            "answers_untouched": _ids_check(batch, ordered.take(batches[trainer.args.process_index])),
            "reference_is_start": step0_check(trainer, batch, stage),
        }
        trained = training.train(trainer, checks)
        probe = ordered["prompt_ids"][0].as_py() + ordered["completion_ids"][0].as_py()
        return training.save(trainer, trained, checks, probe, good_answers=good, kl_last=trained.history[-1]["kl"])


def step0_check(trainer: Any, batch: dict[str, Any], stage: Kto) -> Check:
    """Loss of the untrained model on a batch. Raises TrainingError unless it is half of each row's weight: 1 − σ(0)."""
    import torch

    weight = {True: stage.desirable_weight, False: stage.undesirable_weight}
    expected = sum(weight[label] for label in batch["label"].tolist()) / len(batch["label"]) / 2
    with torch.no_grad(), trainer.accelerator.autocast():
        loss = float(trainer.compute_loss(trainer.model, trainer._prepare_inputs(batch)))
    trainer._metrics["train" if trainer.model.training else "eval"].clear()
    found = check(
        abs(loss - expected) <= _TOLERANCE * max(1, expected),
        loss,
        f"before the first step the loss is half of the rows' weight within {_TOLERANCE:g}: the reference is the start",
    )
    return required(
        found,
        f"KTO's loss before the first step is {loss:.6f}, not {expected:.6f}: "
        "the reference model is not the start checkpoint",
    )


def _lengths(answers: "pa.Table") -> list[int]:
    """Tokens of each row: its prompt and its answer."""
    import pyarrow.compute as pc

    prompt, completion = (pc.list_value_length(answers[name]).to_pylist() for name in _COLUMNS[:2])
    return [p + c for p, c in zip(prompt, completion, strict=True)]


def _micro_batches(count: int, stage: Kto) -> list[list[int]]:
    """Places by forward pass of `kl_rows` rows, the last of an epoch maybe fewer, of which each process takes a part.

    Raises TrainingError if there are fewer rows than processes in the last.
    """
    found, processes = [], stage.execution.devices
    for start in range(0, count, stage.kl_rows):
        together = min(stage.kl_rows, count - start)
        if together < processes:
            raise TrainingError(
                f"the last forward pass of an epoch has {together} of {count} answers, fewer than execution.devices "
                f"{processes}; change kl_rows, or devices"
            )
        ends = [start + together * part // processes for part in range(processes + 1)]
        found += [list(range(a, b)) for a, b in pairwise(ends)]
    return found


def _with_kl_answers(answers: "pa.Table", together: int) -> "pa.Table":
    """`KL_completion_ids`: the answer of the row before it among those of a forward pass, of the first the last.

    A row that is alone in the last forward pass takes that of the row before it.
    """
    import pyarrow as pa

    before = []
    for place in range(len(answers)):
        first = place - place % together
        last = min(first + together, len(answers)) - 1
        before.append(place - 1 if place > first or last == first else last)
    return answers.append_column("KL_completion_ids", answers["completion_ids"].take(pa.array(before)))


def _ids_check(batch: dict[str, Any], answers: "pa.Table") -> Check:
    """Compare the first batch, as the loss will see it, with the rows' own ids, token by token."""
    wrong = 0
    for place in range(len(batch["label"])):
        row = {name: answers[name][place].as_py() for name in (*_COLUMNS, "KL_completion_ids")}
        wrong += bool(batch["label"][place]) != row["label"]
        for side, answer in (("", row["completion_ids"]), ("KL_", row["KL_completion_ids"])):
            wrong += labels.answer_differs(batch, place, row["prompt_ids"], answer, side)
    return labels.untouched(
        wrong,
        len(batch["label"]),
        "ids, masks and labels of the first batch (its rows counted here) equal those of the answers",
        of="answers",
    )
