"""One file a kind of stage: `VERSION` and `CHECKS` of what it makes, and `run(job, work, log, stop)` that makes it."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

from recipes import stages

KINDS = ("base", "scratch", "candidates", "reward_signal", *stages.KINDS)
"""Every kind, each the module of its name; none loads a heavy library before it runs."""


def version_of(kind: str) -> int:
    """Of the artefacts that a kind of stage makes: part of what identifies them."""
    version: int = _module(kind).VERSION
    return version


def checks_of(kind: str) -> dict[str, str]:
    """What must hold of what a kind of stage makes, by the names of its checks."""
    checks: dict[str, str] = _module(kind).CHECKS
    return checks


def run_of(kind: str) -> Callable[..., dict[str, Any]]:
    """What does a job of this kind."""
    run: Callable[..., dict[str, Any]] = _module(kind).run
    return run


def _module(kind: str) -> Any:
    return import_module(f"{__name__}.{kind}")
