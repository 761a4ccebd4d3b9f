"""One file a kind of stage: `VERSION` of what it makes, and `run(job, work, log, stop)` that makes it."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

KINDS = ("base", "scratch", "pretrain", "sft", "reward", "dpo", "kto", "orpo", "grpo")
"""Every kind, each the module of its name; none loads a heavy library before it runs."""


def version_of(kind: str) -> int:
    """Of the artefacts that a kind of stage makes: part of what identifies them."""
    version: int = import_module(f"{__name__}.{kind}").VERSION
    return version


def run_of(kind: str) -> Callable[..., dict[str, Any]]:
    """What does a job of this kind."""
    run: Callable[..., dict[str, Any]] = import_module(f"{__name__}.{kind}").run
    return run
