"""The process that the steps of a run are forked from, started while the run itself still imports Dagster."""

import multiprocessing
import os
from multiprocessing import forkserver
from pathlib import Path

from orchestration.terminal import quiet_terminal

PRELOAD_RECIPE = "TEMPER_PRELOAD_RECIPE"
"""Environment variable for `orchestration.preload`: the recipe file whose job will be run."""

_MODULES = ["dagster._core.executor.multiprocess", "orchestration.preload"]
"""As Dagster's multiprocess executor asks for them: it takes the server that runs already."""


def start_fork_server(recipe: Path, log: Path) -> None:
    """Start it for this recipe's file; what it and the steps write goes to `log`. The environment must be settled."""
    os.environ[PRELOAD_RECIPE] = str(recipe.resolve())
    multiprocessing.get_context("forkserver").set_forkserver_preload(_MODULES)
    with quiet_terminal(log):
        forkserver.ensure_running()
