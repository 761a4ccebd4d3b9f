"""Frozen suites: YAML files of tasks with a version, that recipes take over whole.

`evaluation.suite` of a recipe names one, by the name of a shipped file (recipes/suites) or by a path. Its tasks become
tasks of the recipe; the recipe may add others and change none, so that two recipes with one suite ask the same. Places
of data are relative to the suite's file.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from recipes.section import Name, Section
from recipes.suite import Task

SHIPPED_SUITES = Path(__file__).parent / "suites"


class SuiteFile(Section):
    """A suite as its file has it. `version` is raised whenever anything in `tasks` changes."""

    version: int = Field(ge=1)
    description: str = ""
    tasks: dict[Name, Task] = Field(min_length=1)


def suite_path(named: str, folder: Path) -> Path:
    """The file of a suite that a recipe in `folder` names. Raises ValueError if there is none."""
    if not named.endswith((".yaml", ".yml")):
        path, shipped = SHIPPED_SUITES / f"{named}.yaml", sorted(file.stem for file in SHIPPED_SUITES.glob("*.yaml"))
        if not path.is_file():
            raise ValueError(
                f"'{named}' is none of the shipped suites {shipped}; a suite of your own is named by its .yaml"
            )
        return path
    if not (folder / named).is_file():
        raise ValueError(f"'{named}': no such file; looked for {folder / named}")
    return folder / named


def with_tasks_of(suite: SuiteFile, path: Path, evaluation: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A recipe's evaluation section with the tasks of its suite before its own. folder: the recipe's.

    Raises ValueError for a name in both.
    """
    own = evaluation.get("tasks") or {}
    frozen = {name: task.model_dump(mode="json", exclude_unset=True) for name, task in suite.tasks.items()}
    if not isinstance(own, Mapping):
        raise ValueError("tasks: expected a mapping of tasks by name")
    if both := sorted(set(own) & set(frozen)):
        raise ValueError(
            f"tasks.{both[0]}: suite '{path.stem}' has a task of this name, which a recipe does not change; "
            "give yours another name"
        )
    tasks = {name: _placed(task, os.path.relpath(path.parent, folder)) for name, task in frozen.items()}
    name = {"name": path.stem.replace("-", "_").replace(".", "_"), "version": suite.version}
    return {**evaluation, "suite": name, "tasks": {**tasks, **own}}


def _placed(task: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """A task whose paths begin at the recipe and not at its suite's `folder`."""
    return {
        field: {**value, "uri": os.path.normpath(os.path.join(folder, value["uri"]))}
        if isinstance(value, dict) and "uri" in value and "://" not in value["uri"]
        else value
        for field, value in task.items()
    }
