"""A reward model's word on candidates: of every answer the score that it gives to the prompt and that answer.

A score is read at the end of the whole conversation, so an answer that was cut, which has no end, has none. A batch
that is done is kept at once: an attempt that was stopped or killed loses no more than the one it was at.
"""

import itertools
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from corpora.feedback import signals
from corpora.feedback.signals import Value
from corpora.tables.tables import CANDIDATES, rows_in, rows_of
from jobs import memory
from jobs.job import Job
from jobs.progress import Progress
from jobs.run_log import RunLog
from lineage.checks import check
from lineage.errors import Interrupted, TrainingError
from lineage.hashing import fingerprint
from models.template import ChatTemplate
from recipes.candidates import ModelSignal
from training.loop import checkpoints

VERSION = 1
CHECKS = {
    **signals.CHECKS,
    "scored_alone": "an answer's score beside others is the one that it gets alone",
}

KEPT = "scores.sqlite"
"""What another attempt goes on from, among what is kept of one."""

_CLOSE = 1e-4
"""Of scores about 1, in float32."""
_ALONE = 8
Row = dict[str, Any]


def run(job: Job, work: Path, log: RunLog, stop: threading.Event) -> dict[str, Any]:
    """Let `job.inputs["checkpoint"]` score `job.inputs["candidates"]` into `work`; returns the record's metrics.

    Raises TrainingError, and Interrupted when `stop` was set.
    """
    import torch

    from models.answered import Answered
    from training.rewards import RewardModel

    signal = ModelSignal.model_validate(job.config)
    given, checkpoint = job.inputs["candidates"], job.inputs["checkpoint"].path
    path = given.path / CANDIDATES
    log.dataset(job.ref, given.digest, given.path, rows_in(path), "scored")
    end = ChatTemplate.load(checkpoint).end_of_turn_id
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with memory.explained(f"with {job.ref}'s batch_size {signal.batch_size}; a smaller one needs less", TrainingError):
        model = RewardModel(checkpoint, device, signal.batch_size)
        known = Answered(work / checkpoints.FOLDER / KEPT)
        progress = Progress(job.ref, rows_in(path), "prompts")
        done = itertools.count(1)

        def scored(rows: Sequence[Row]) -> list[Value]:
            found: list[Value] = []
            for row in rows:
                if stop.is_set():
                    raise Interrupted(f"{job.ref}: stopped; what was scored is kept")
                found += _of_prompt(row, end, model, known)
                progress.update(next(done))
            return found

        metrics = signals.written(job.node, signal, given.path, work, scored)
        apart = _apart(next(iter(rows_of(path))), end, model)
    metrics["checks"]["scored_alone"] = check(
        apart <= _CLOSE,
        apart,
        "of their size, how far the scores of the first prompt's answers are from those of each alone",
    )
    return metrics


def _whole(row: Row, end: int) -> list[list[int] | None]:
    """Prompt and answer as the model reads them, up to and with the end of the turn; None of one that was cut."""
    return [
        [*row["prompt_ids"], *answer["ids"], end] if answer["finish"] == "stop" else None for answer in row["answers"]
    ]


def _of_prompt(row: Row, end: int, model: Any, known: Any) -> list[Value]:
    """The scores of a prompt's answers; those of an earlier attempt are not computed again."""
    whole = _whole(row, end)
    question = fingerprint(whole)
    scores = known.get([question]).get(question)
    if scores is None:
        scores = model.rewards([ids for ids in whole if ids is not None])
        known.put({question: scores})
    found = iter(scores)
    return [None if ids is None else next(found) for ids in whole]


def _apart(row: Row, end: int, model: Any) -> float:
    whole = [ids for ids in _whole(row, end) if ids is not None][:_ALONE]
    together = model.rewards(whole)
    alone = [model.rewards([ids])[0] for ids in whole]
    size = max(1.0, *map(abs, together)) if together else 1.0
    return max((abs(a - b) / size for a, b in zip(together, alone, strict=True)), default=0.0)
