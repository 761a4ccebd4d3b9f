"""A code location with one asset: a stubborn trainer in the pool, started by the launcher."""

import os
import sys
from pathlib import Path

import dagster as dg

from assets.making import GPU
from lineage.store import home_folder
from orchestration.launcher import LocalLauncher
from recipes.execution import Execution

_TRAINER = Path(__file__).with_name("stubborn_trainer.py")


@dg.asset(pool=GPU)
def stubborn(context: dg.AssetExecutionContext) -> None:
    command = [sys.executable, str(_TRAINER), os.environ["STUBBORN_PIDS"]]
    LocalLauncher(home_folder()).run(context, command, grace_seconds=Execution().grace_seconds)


defs = dg.Definitions(assets=[stubborn])
