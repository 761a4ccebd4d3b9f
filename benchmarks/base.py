"""The base model of the demo as a sealed checkpoint, made by the product's own graph where it is not there yet."""

import subprocess
import sys
from pathlib import Path

from lineage.store import Store, home_folder


def base_folder() -> Path:
    """Folder of the checkpoint under TEMPER_HOME."""
    store = Store(home_folder())
    if store.ref("demo", "base") is None:
        subprocess.run([sys.executable, "-m", "orchestration", "run", "demo", "--select", "base"], check=True)
    found = store.ref("demo", "base")
    if found is None:
        raise SystemExit("demo/base: was not made")
    return found.path
