"""Who built an artefact, where and with what: kept in its record, never part of its identity."""

import getpass
import importlib.metadata
import os
import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

_PACKAGES = ("torch", "transformers", "trl", "peft", "datasets", "lm_eval", "mlflow-skinny", "dagster", "pyarrow")
_ROOT = Path(__file__).resolve().parent.parent


def provenance() -> dict[str, Any]:
    """Commit, user, host kind, package versions and the time in UTC, as JSON values."""
    return {**_fixed(), "created_at": datetime.now(UTC).isoformat(timespec="seconds"), "pid": os.getpid()}


@cache
def _fixed() -> dict[str, Any]:
    return {
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain")),
        "user": _user(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "versions": {name: version for name in _PACKAGES if (version := _version(name))},
    }


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=_ROOT, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
