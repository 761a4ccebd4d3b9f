"""Odds ratio preference optimisation (Hong et al. 2024): a checkpoint and preference pairs in, a checkpoint out.

Chosen answers are learned as in supervised fine-tuning while the odds of chosen over rejected ones are raised; there
is no reference model.
"""

import threading
from functools import partial
from pathlib import Path
from typing import Any

from jobs.job import Job
from jobs.run_log import RunLog
from recipes.stages import Orpo
from training.stages import frame

VERSION = 3
CHECKS = {**frame.PAIRS_UNTOUCHED, **frame.LOSS_IS_THE_PAPERS, **frame.SAVED}


def run(job: Job, work: Path, log: RunLog, stop: threading.Event) -> dict[str, Any]:
    """Train `job.inputs["start"]` on `job.inputs["preferences"]` into `work`; returns the record's metrics.

    Raises TrainingError, and Interrupted when `stop` was set.
    """
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    from training.stages import without_reference

    class Trainer(without_reference.WithoutReference, ORPOTrainer):  # type: ignore[misc]
        per_row = ("rewards/", "logps/", "nll_loss", "log_odds")

    stage = Orpo.model_validate(job.config)
    config = partial(ORPOConfig, beta=stage.beta)
    return without_reference.run(job, work, log, stop, stage, Trainer, config, partial(loss, beta=stage.beta), told)


def loss(chosen: Any, rejected: Any, beta: float) -> Any:
    """Eq. 6 and 7 of the paper, from the mean log-probabilities of the answers' tokens, each (pairs,).

    With P the geometric mean of an answer's probabilities: −log P(chosen), and −β log σ of the logarithm of
    odds(chosen) / odds(rejected), odds being P / (1 − P).
    """
    import torch

    log_odds = (p - torch.log1p(-p.exp()) for p in (chosen, rejected))
    ratio = torch.nn.functional.logsigmoid(next(log_odds) - next(log_odds)).mean()
    return -chosen.mean() - beta * ratio


def told(history: list[dict[str, float]]) -> dict[str, Any]:
    """How far the odds moved."""
    first, last = history[0], history[-1]
    return {
        "log_odds": {"first": first["log_odds_chosen"], "last": last["log_odds_chosen"]},
        "reward_accuracy_last": last["rewards/accuracies"],
    }
