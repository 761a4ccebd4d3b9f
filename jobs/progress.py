"""Progress of a job, for people: one line every two seconds on stdout, and in Dagster when it launched us.

A line reads `sft 12/42 steps · loss 1.234 · 245 tokens/s · 1:20 left`. Series of numbers go to MLflow
through `jobs.run_log`, not here.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from jobs.group import leads

_EVERY_S = 2.0


@contextmanager
def reporting() -> Iterator[None]:
    """Open the Dagster Pipes session iff this process was launched with one and speaks for all that train together."""
    from dagster_pipes import DAGSTER_PIPES_CONTEXT_ENV_VAR, open_dagster_pipes

    if DAGSTER_PIPES_CONTEXT_ENV_VAR not in os.environ or not leads():
        yield
        return
    with open_dagster_pipes():
        yield


def say(line: str, of_all: bool = True) -> None:
    """One line to stdout, and to Dagster's event log if a Pipes session is open.

    of_all: it holds for all processes that train together, and the leading one says it.
    """
    from dagster_pipes import PipesContext

    if of_all and not leads():
        return
    print(line, flush=True)
    if PipesContext.is_initialized():
        PipesContext.get().log.info(line)


class Progress:
    """Progress of `label` towards `total` units; the first update is where the clock starts."""

    def __init__(self, label: str, total: int, unit: str) -> None:
        self.label, self.total, self.unit = label, total, unit
        self._first: tuple[int, float] | None = None
        self._said_at = float("-inf")

    def update(self, done: int, **values: float) -> None:
        """Say where we are, at most every two seconds and always at the end.

        values: shown in the order given; a name that ends in `_per_s` reads as `<number> <name>/s`.
        """
        now = time.monotonic()
        self._first = self._first or (done, now)
        if now - self._said_at < _EVERY_S and done < self.total:
            return
        self._said_at = now
        where = f"{self.label} {done}/{self.total} {self.unit}"
        say(" · ".join([where, *map(_shown, values.items()), *self._left(done, now)]))

    def _left(self, done: int, now: float) -> list[str]:
        first, since = self._first or (done, now)
        if done <= first or done >= self.total:
            return []
        seconds = (now - since) / (done - first) * (self.total - done)
        clock = str(timedelta(seconds=round(seconds)))
        return [f"{clock.removeprefix('0:')} left"]


def _shown(item: tuple[str, float]) -> str:
    name, value = item
    if name.endswith("_per_s"):
        return f"{value:.0f} {name.removesuffix('_per_s').replace('_', ' ')}/s"
    return f"{name.replace('_', ' ')} {value:.4g}"
