"""The identity of a frozen suite: what is asked, of which bytes, decoded how.

A suite that asks the same of the same bytes is the same suite, wherever its data lies and whichever
checkpoints it reports on. `VERSION` is raised when the way of asking or scoring changes, a kind's own
version when that is so for its tasks alone.
"""

from pathlib import Path
from typing import Any

from corpora.sources import observe
from recipes.schema import identity
from recipes.sources import Origin
from recipes.suite import Evaluation, Task

VERSION = 4


def suite_identity(evaluation: Evaluation, folder: Path, cache: Path) -> dict[str, Any]:
    """The suite's part of a report's payload: settings of each task and the digest of its data.

    folder: the recipe's; cache: of downloaded origins. Raises CorpusError if data cannot be observed.
    """
    tasks = {name: _task_identity(task, folder, cache) for name, task in evaluation.tasks.items()}
    settings = {name: value for name, value in identity(evaluation).items() if name != "reports"}
    return {**settings, "version": VERSION, "tasks": tasks}


def _task_identity(task: Task, folder: Path, cache: Path) -> dict[str, Any]:
    origins = {name: value for name in type(task).model_fields if isinstance(value := getattr(task, name), Origin)}
    digests = {f"{name}_digest": observe(origin, folder, cache) for name, origin in origins.items()}
    settings = {name: value for name, value in identity(task).items() if name not in (*origins, "advisory")}
    own = {} if task.version is None else {"version": task.version}
    return {**settings, **digests, **own}


def kind_versions(evaluation: Evaluation) -> dict[str, int]:
    """The own versions of the kinds of tasks that the suite has."""
    return {task.kind: task.version for task in evaluation.tasks.values() if task.version is not None}
