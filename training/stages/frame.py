"""What every stage that trains does in the same way, from its start checkpoint to what is recorded of it.

A stage reads its rows and plans its steps, makes its trainer while a `Training` is `begun`, and hands what must hold
before the first step to `train`, which takes none unless all of it does; `save` writes, proves and records. What is a
stage's own (its columns, its loss, what it checks of the first batch) stays in its file.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.job import Job
from jobs.run_log import RunLog
from lineage.checks import Check
from recipes.stages import StageBase
from training import rows, weights
from training.invariants import required

if TYPE_CHECKING:
    from training.loop.loop import Trained

SAVED = {
    "frozen_unmoved": "what the adapter was trained on is still the start checkpoint, bit for bit",
    "adapter_whole": "the saved adapter holds every tensor that was trained",
    "merged_equals_adapter": "the merged weights give the logits of base and adapter",
    "reload_equal": "the checkpoint, loaded again, gives the same logits",
    "served_as_trained": "rendered from its own files, as a server does, a conversation is what training saw",
}
"""Checks of every checkpoint that was trained; the first three of adapters alone."""

PAIRS_UNTOUCHED = {"pairs_untouched": "the trainer sees the tokens of the pairs, all of them and no others"}
LOSS_IS_THE_PAPERS = {
    "loss_is_the_papers": "before the first step the loss is the paper's formula, on the answers' tokens alone"
}
REFERENCE_IS_START = {
    "reference_is_start": "before the first step the loss is what it is when policy and reference are the same model"
}


@dataclass(frozen=True)
class Training:
    """One training, on the rows of `plan`.

    data: the input that brought them, and the recipe's field that names it. loaded, own: how the model is loaded, and
    which files of a checkpoint it does not take over from its start, where it is no plain language model.
    """

    job: Job
    work: Path
    log: RunLog
    stop: threading.Event
    stage: StageBase
    data: str
    plan: rows.StepPlan
    loaded: weights.Loader = weights.load
    own: tuple[str, ...] = ()

    @property
    def start(self) -> Path:
        """The start checkpoint."""
        return self.job.inputs["start"].path

    @contextmanager
    def begun(self) -> Iterator[None]:
        """Logs the rows; while a stage makes its trainer, trains and saves, want of memory becomes a TrainingError."""
        from training.loop import loop

        given = self.job.inputs[self.data]
        name: str = getattr(self.stage, self.data)
        self.log.dataset(name, given.digest, given.path, len(self.plan.lengths), "training")
        with loop.memory_explained(self.stage, self.plan, self.work):
            yield

    def model(self) -> Any:
        """The start checkpoint, to be trained. Raises TrainingError if a row is longer than what it can read."""
        model = weights.load_for_training(self.start, self.stage, self.loaded)
        rows.must_fit(self.plan, model.config)
        return model

    def arguments(self) -> dict[str, Any]:
        """What TRL's configurations are told by every stage."""
        from training.loop import loop

        return loop.arguments(self.stage, self.plan, self.work)

    def micro_batches(self) -> list[list[int]]:
        """Places in `plan.order` that are computed together."""
        execution = self.stage.execution
        return rows.micro_batches(self.plan, execution.micro_batch, execution.devices)

    def first_batch(self, trainer: Any) -> tuple[dict[str, Any], list[int]]:
        """The first micro-batch, as the trainer's own loader and collator give it, and which rows are in it.

        With several processes, each begins with its own.
        """
        from training.loop import loop

        places = trainer.micro_batches[trainer.args.process_index]
        return loop.first_batch(trainer), [self.plan.order[place] for place in places]

    def train(self, trainer: Any, checks: Mapping[str, Check], samples: bool = False) -> "Trained":
        """All steps. Raises TrainingError before the first unless every check passed, Interrupted after a stop.

        samples: whether the model can be asked, while it is trained, what the recipe wants to hear from it.
        """
        from training.loop import loop

        for found in checks.values():
            required(found)
        folder = self.job.inputs[self.data].path
        asked = loop.samples_of(self.stage, folder, trainer, self.work) if samples else None
        return loop.train(trainer, self.plan, self.job, self.work, self.log, self.stop, asked)

    def save(
        self, trainer: Any, trained: "Trained", checks: Mapping[str, Check], probe: list[int], **told: Any
    ) -> dict[str, Any]:
        """Write the checkpoint and prove it; returns the record's metrics.

        probe: token ids of a row. told: metrics of the stage's own.
        """
        proven = weights.save(trainer.model, self.start, self.work, probe, self.loaded, self.own)
        return {**trained.metrics, **told, "checks": {**checks, **proven}}
