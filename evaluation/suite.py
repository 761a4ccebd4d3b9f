"""The identity of a frozen suite: what is asked, of which bytes, decoded how.

A suite that asks the same of the same bytes is the same suite, wherever its data lies and whichever
checkpoints it reports on. `VERSION` is raised when the way of asking or scoring changes.
"""

from pathlib import Path
from typing import Any

from corpora.sources import observe
from recipes.schema import identity
from recipes.suite import Evaluation, IfevalTask, Task

VERSION = 2


def suite_identity(evaluation: Evaluation, folder: Path, cache: Path) -> dict[str, Any]:
    """The suite's part of a report's payload: settings of each task and the digest of its data.

    folder: the recipe's; cache: of downloaded origins. Raises CorpusError if data cannot be observed.
    """
    tasks = {name: _task_identity(task, folder, cache) for name, task in evaluation.tasks.items()}
    settings = {name: value for name, value in identity(evaluation).items() if name != "reports"}
    return {**settings, "version": VERSION, "tasks": tasks}


def _task_identity(task: Task, folder: Path, cache: Path) -> dict[str, Any]:
    digests = {"data_digest": observe(task.data, folder, cache)}
    if isinstance(task, IfevalTask):
        digests["punkt_digest"] = observe(task.punkt, folder, cache)
    settings = {name: value for name, value in identity(task).items() if name not in ("data", "punkt")}
    return {**settings, **digests}
