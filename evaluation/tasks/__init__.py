"""What a suite can ask, a module for each kind of task and those that they share. `evaluation.task` says what all of
them are to the runner.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evaluation.task import Place, Prepared
    from recipes.suite import Task

_ELSEWHERE = {
    **dict.fromkeys(("mmlu_pro", "gpqa", "gsm8k", "aime", "truthfulqa"), "evaluation.tasks.benchmarks"),
    "pairwise_judge": "evaluation.judges.pairwise",
    "graded_judge": "evaluation.judges.graded",
}
"""Kinds of tasks that are not in the module of their name beside this one."""


def prepare(name: str, task: "Task", place: "Place") -> "Prepared":
    """Read and check all that a task needs but the model. Raises EvaluationError and CorpusError."""
    module = import_module(_ELSEWHERE.get(task.kind, f"{__name__}.{task.kind}"))
    prepared: Prepared = module.prepare(name, task, place)
    return prepared
