"""The terminal kept for progress: what a process and its children write otherwise goes to a log file."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from recipes.terminal import PlainConsole


@contextmanager
def quiet_terminal(log: Path, silent: bool = False) -> Iterator[Console]:
    """A console on the terminal, `silent` or not, while all else that this process tree writes goes to `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    terminal, errors = os.dup(1), os.dup(2)
    try:
        with log.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        with os.fdopen(os.dup(terminal), "w", encoding="utf-8") as shown:
            yield PlainConsole(file=shown, highlight=False, quiet=silent)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for kept, descriptor in ((terminal, 1), (errors, 2)):
            os.dup2(kept, descriptor)
            os.close(kept)
