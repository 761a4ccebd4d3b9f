"""Direct preference optimisation (Rafailov et al. 2023): a checkpoint and preference pairs in, a checkpoint out.

The reference model is the start checkpoint and nothing else: its log-probabilities are computed before the first
step, or found in the store (`losses.reference`), so no second model is held. TRL's own default would load whatever
the model's configuration names. Before the first step the loss on the first batch must be what it is when the model
that is trained and the one behind those numbers are one: ln 2 for the loss of the paper. Pairs come as token ids and
reach the loss untouched.
"""

import math
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.job import Job
from jobs.run_log import RunLog
from lineage.checks import Check, check
from models import load
from recipes.stages import Dpo
from training import rows
from training.invariants import labels, required
from training.stages import frame

if TYPE_CHECKING:
    import pyarrow as pa

VERSION = 3
CHECKS = {**frame.PAIRS_UNTOUCHED, **frame.REFERENCE_IS_START, **frame.SAVED}

_TOLERANCE = 1e-4
"""Relative. Model and reference take the same products in the same order: in fp32 and in bf16 0 was seen."""


def run(job: Job, work: Path, log: RunLog, stop: threading.Event) -> dict[str, Any]:
    """Train `job.inputs["start"]` on `job.inputs["preferences"]` into `work`; returns the record's metrics.

    Raises TrainingError, and Interrupted when `stop` was set.
    """
    from trl import DPOConfig

    from training.losses import head, reference
    from training.losses.preference_trainers import PreferenceTrainer
    from training.weights import lora_config

    stage = Dpo.model_validate(job.config)
    pairs = rows.read(job.inputs["preferences"].path / "pairs.parquet", rows.PAIR)
    plan = rows.plan(rows.pair_lengths(pairs), stage)
    training = frame.Training(job, work, log, stop, stage, "preferences", plan)
    with training.begun():
        trainer = PreferenceTrainer(
            micro_batches=training.micro_batches(),
            model=training.model(),
            args=DPOConfig(**training.arguments(), **_loss(stage), precompute_ref_log_probs=True),
            train_dataset=_dataset(pairs, plan.order),
            processing_class=load.tokenizer(training.start),
            peft_config=lora_config(stage.lora),
        )
        head.score_only_supervised(trainer)
        known = reference.of_pairs(trainer, trainer.micro_batches, plan.needed, job, stage, stop)
        trainer.train_dataset = _dataset(pairs, plan.order, known)
        batch, taken = training.first_batch(trainer)
        checks = {
            "pairs_untouched": _ids_check(batch, taken, pairs),
            "reference_is_start": step0_check(trainer, batch, at_start(stage)),
        }
        trained = training.train(trainer, checks, samples=True)
        first, last = trained.history[0], trained.history[-1]
        return training.save(
            trainer,
            trained,
            checks,
            pairs["prompt_ids"][plan.order[0]].as_py() + pairs["chosen_ids"][plan.order[0]].as_py(),
            margins={"first": first["rewards/margins"], "last": last["rewards/margins"]},
            reward_accuracy_last=last["rewards/accuracies"],
        )


def _loss(stage: Dpo) -> dict[str, Any]:
    """What TRL is told about the loss; what the recipe leaves open is TRL's own default."""
    given = {"label_smoothing": stage.label_smoothing, "discopop_tau": stage.discopop_tau}
    said = {name: value for name, value in given.items() if value is not None}
    return {"beta": stage.beta, "loss_type": [stage.loss], **said}


def at_start(stage: Dpo) -> float | None:
    """The loss of `stage` where policy and reference are one, so that all log ratios are 0: each formula a number.

    None for `sft`, which looks at no reference. `test_pair_losses` holds TRL's own code against it.
    """
    ln2, smoothing, squared = math.log(2), stage.label_smoothing or 0.0, (1 / (2 * stage.beta)) ** 2
    if stage.loss == "exo_pair":
        return -ln2 - (math.log(smoothing) + math.log1p(-smoothing)) / 2
    values = {
        **dict.fromkeys(("sigmoid", "sigmoid_norm", "robust", "aot", "aot_unpaired"), ln2),
        **dict.fromkeys(("nca_pair", "bco_pair"), 2 * ln2),
        **dict.fromkeys(("hinge", "apo_zero", "apo_down"), 1.0),
        "discopop": (ln2 + 1) / 2,
        "ipo": squared,
        "sppo_hard": 2 * squared,
    }
    return values.get(stage.loss)


def step0_check(trainer: Any, batch: dict[str, Any], expected: float | None) -> Check:
    """Loss and rewards of the untrained model on a batch. Raises TrainingError unless model and reference are one.

    expected: the loss when they are, or None if it says nothing of it; rewards and margin must be 0 in any case.
    """
    import torch

    with torch.no_grad(), trainer.accelerator.autocast():
        loss = float(trainer.compute_loss(trainer.model, trainer._prepare_inputs(batch)))
    told = trainer._metrics["train" if trainer.model.training else "eval"]
    rewards = max(abs(told[f"rewards/{name}"][-1]) for name in ("chosen", "rejected", "margins"))
    told.clear()
    wanted = loss if expected is None else expected
    found = check(
        abs(loss - wanted) <= _TOLERANCE * max(1, wanted) and rewards <= _TOLERANCE,
        loss,
        f"before the first step the loss is {wanted:.6g} and rewards are 0, within {_TOLERANCE:g}: "
        "the reference is the start",
    )
    return required(
        found,
        f"the loss before the first step is {loss:.6f} with rewards up to {rewards:.6f}, not {wanted:.6f} with 0: "
        "the reference model is not the start checkpoint",
    )


def _dataset(pairs: "pa.Table", order: list[int], known: "pa.Table | None" = None) -> Any:
    """Pairs in the order of training, with what is known of those at its first places in further columns."""
    import pyarrow as pa
    from datasets import Dataset

    if known is not None:
        place_of = dict(zip(order, range(len(known)), strict=False))
        places = pa.array([place_of.get(row) for row in range(len(pairs))], pa.int64())
        for name in known.column_names:
            pairs = pairs.append_column(name, known[name].take(places))
    return Dataset(pairs).select(order)


def _ids_check(batch: dict[str, Any], taken: list[int], pairs: "pa.Table") -> Check:
    """Compare the first batch, as the loss will see it, with the pairs' own ids, token by token."""
    count = len(batch["input_ids"]) // 2
    wrong = 0
    for place in range(count):
        prompt, chosen, rejected = (pairs[name][taken[place]].as_py() for name in rows.PAIR)
        wrong += labels.answer_differs(batch, place, prompt, chosen)
        wrong += labels.answer_differs(batch, place + count, prompt, rejected)
    return labels.untouched(
        wrong,
        count,
        "ids and masks of the first batch (its pairs counted here) equal those of the preference pairs",
    )
