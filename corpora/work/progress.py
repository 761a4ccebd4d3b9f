"""Progress of what takes longer than two seconds: a bar on a terminal, else a line now and then on stderr.

Whoever runs a step for someone else says with `told_to` where its lines are to go.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar

_PATIENCE_S = 2.0
_LINE_EVERY_S = 10.0

_told: ContextVar[Callable[[str], None] | None] = ContextVar("told", default=None)


@contextmanager
def told_to(tell: Callable[[str], None]) -> Iterator[None]:
    """Lines of progress go to `tell` while the block lasts."""
    token = _told.set(tell)
    try:
        yield
    finally:
        _told.reset(token)


@contextmanager
def progress(label: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Give a function that is told how many of `total` units are newly done."""
    with ExitStack() as stack:
        if _told.get() is None and sys.stderr.isatty():
            yield _bar(stack, label, total)
        else:
            yield _lines(label, total, unit)


def _bar(stack: ExitStack, label: str, total: int) -> Callable[[int], None]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from recipes.terminal import PlainConsole

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    shown = Progress(*columns, console=PlainConsole(stderr=True), transient=True)
    task = shown.add_task(label, total=total)
    began = time.monotonic()
    started = False

    def advance(done: int) -> None:
        nonlocal started
        shown.advance(task, done)
        if not started and time.monotonic() - began > _PATIENCE_S:
            stack.enter_context(shown)
            started = True

    return advance


def _lines(label: str, total: int, unit: str) -> Callable[[int], None]:
    tell = _told.get() or _print
    began = said = time.monotonic()
    reached = 0

    def advance(done: int) -> None:
        nonlocal said, reached
        reached += done
        now = time.monotonic()
        if now - began < _PATIENCE_S or (now - said < _LINE_EVERY_S and reached < total):
            return
        said = now
        tell(f"{label}: {reached:,} of {total:,} {unit}, {(now - began) / reached * (total - reached):,.0f} s left")

    return advance


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
