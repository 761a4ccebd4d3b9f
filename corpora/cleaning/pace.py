"""How far a long piece of work is, told every two seconds in a line for people."""

import time
from collections.abc import Callable

_EVERY_S = 2.0


class Pace:
    """Counts bytes done against all of them, and tells rows, megabytes and the time left."""

    def __init__(self, total: int, tell: Callable[[str], None]) -> None:
        self._total, self._tell = total, tell
        self._done = 0
        self._began = self._told = time.monotonic()

    def at(self, more: int, rows: int) -> None:
        """`more` bytes are done; `rows` in all."""
        self._done += more
        now = time.monotonic()
        if now - self._told >= _EVERY_S:
            self._told = now
            left = (now - self._began) / self._done * (self._total - self._done)
            self._tell(f"{rows:,} rows, {self._done / 1e6:,.0f} of {self._total / 1e6:,.0f} MB, {left:,.0f} s left")
