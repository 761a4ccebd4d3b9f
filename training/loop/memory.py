"""Memory: the longest batch tried before the first step, and which batch it was when memory did run out.

A training whose one long row comes up after three hours should fail in its first seconds. What the trial computed
is dropped and the dice are put back, so a training goes on as if there had been none.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch  # noqa: TID253 - only job processes import this module

from jobs.memory import ran_out
from jobs.progress import say
from training.loop import randomness
from training.rows import StepPlan

_WORTH = 50
"""Times the batch's own size that must lie before its turn, else the trial costs more than finding out late."""


class BatchTooLarge(MemoryError):
    """Memory ran out in this batch. step: 1 is the first, 0 the trial before it."""

    def __init__(self, rows: int, length: int, step: int) -> None:
        super().__init__(f"{rows} rows of {length} tokens")
        self.rows, self.length, self.step = rows, length, step


def announce_batches(trainer: Any, about_to_compute: Callable[[Any], None]) -> None:
    """Have every batch announced before it is computed, and named if memory runs out in it."""
    computed = trainer.training_step

    def training_step(model: Any, inputs: Any, *arguments: Any, **named: Any) -> Any:
        about_to_compute(inputs)
        with blamed(inputs, trainer.state.global_step + 1):
            return computed(model, inputs, *arguments, **named)

    trainer.training_step = training_step


@contextmanager
def blamed(inputs: Any, step: int) -> Iterator[None]:
    """Say of which batch it was if memory runs out. Raises BatchTooLarge."""
    try:
        yield
    except Exception as error:
        ids = inputs.get("input_ids") if isinstance(inputs, dict) else None
        if ids is None or not ran_out(error):
            raise
        rows, length = ids.shape
        raise BatchTooLarge(rows, length, step) from error


def try_longest(trainer: Any, plan: StepPlan) -> None:
    """Forward and backward of the largest micro-batch before the first step, if it would come up late.

    With room for Adam's two moments beside it, which the first step makes. Raises BatchTooLarge.
    """
    batches: list[list[int]] | None = getattr(trainer, "micro_batches", None)
    if batches is None or trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        return  # before the first step nothing is sharded yet: the trial would need more than training does
    places = max(batches, key=lambda batch: slots(plan, batch))
    before = sum(slots(plan, batch) for batch in batches[: batches.index(places)])
    if before < _WORTH * slots(plan, places):
        return
    say(f"the longest batch first: {len(places)} rows of up to {longest(plan, places)} tokens")
    compute_and_drop(trainer, places)


def compute_and_drop(trainer: Any, places: list[int]) -> None:
    """Forward and backward of the rows at these places; nothing of it stays."""
    with randomness.kept():
        inputs = trainer._prepare_inputs(trainer.data_collator([trainer.train_dataset[place] for place in places]))
        training, counted = trainer.model.training, trainer._total_train_tokens
        trainer.model.train()
        with blamed(inputs, step=0):
            moments = [torch.empty_like(p) for p in trainer.model.parameters() if p.requires_grad for _ in range(2)]
            with trainer.accelerator.autocast():
                loss = trainer.compute_loss(trainer.model, inputs)
            loss.backward()
            del moments, loss
        trainer.model.zero_grad(set_to_none=True)
        trainer.model.train(training)
        trainer._metrics["train"].clear()
        trainer._total_train_tokens = counted


def slots(plan: StepPlan, places: list[int]) -> int:
    """Tokens of these rows when padded to the longest."""
    return len(places) * longest(plan, places)


def longest(plan: StepPlan, places: list[int]) -> int:
    return max(plan.lengths[plan.order[place]] for place in places)
