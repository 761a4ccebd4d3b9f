"""A code location with one asset that holds the slot of the pool until a file appears."""

import os
import time
from pathlib import Path

import dagster as dg

from assets.making import GPU
from orchestration.wiring import EXECUTOR


@dg.asset(pool=GPU)
def slow() -> None:
    folder = Path(os.environ["SLOW_FOLDER"])
    (folder / "began").touch()
    while not (folder / "go").is_file():
        time.sleep(0.05)


defs = dg.Definitions(assets=[slow], jobs=[dg.define_asset_job("slow_job")], executor=EXECUTOR)
