"""Simple preference optimisation (Meng et al. 2024): a checkpoint and preference pairs in, a checkpoint out.

The reward of an answer is the mean log-probability of its tokens, as the model will later be asked for it; there is no
reference model. TRL's CPO trainer has this loss.
"""

import threading
from functools import partial
from pathlib import Path
from typing import Any

from jobs.job import Job
from jobs.run_log import RunLog
from recipes.stages import Simpo
from training.stages import frame

VERSION = 1
CHECKS = {**frame.PAIRS_UNTOUCHED, **frame.LOSS_IS_THE_PAPERS, **frame.SAVED}


def run(job: Job, work: Path, log: RunLog, stop: threading.Event) -> dict[str, Any]:
    """Train `job.inputs["start"]` on `job.inputs["preferences"]` into `work`; returns the record's metrics.

    Raises TrainingError, and Interrupted when `stop` was set.
    """
    from trl.experimental.cpo import CPOConfig, CPOTrainer

    from training.stages import without_reference

    class Trainer(without_reference.WithoutReference, CPOTrainer):  # type: ignore[misc]
        per_row = ("rewards/", "logps/", "nll_loss")

    stage = Simpo.model_validate(job.config)
    config = partial(CPOConfig, loss_type="simpo", cpo_alpha=0.0, beta=stage.beta, simpo_gamma=stage.gamma)
    formula = partial(loss, beta=stage.beta, gamma=stage.gamma)
    return without_reference.run(job, work, log, stop, stage, Trainer, config, formula, told)


def loss(chosen: Any, rejected: Any, beta: float, gamma: float) -> Any:
    """Eq. 6 of the paper, −log σ(β·(chosen − rejected) − γ), from the mean log-probabilities of the answers' tokens."""
    import torch

    return -torch.nn.functional.logsigmoid(beta * (chosen - rejected) - gamma).mean()


def told(history: list[dict[str, float]]) -> dict[str, Any]:
    """How far the rewards of the two answers came apart; γ is how far they should."""
    first, last = history[0], history[-1]
    return {
        "margins": {"first": first["rewards/margins"], "last": last["rewards/margins"]},
        "reward_accuracy_last": last["rewards/accuracies"],
    }
