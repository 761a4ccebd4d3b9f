"""A thread that ends dead runs while something needs them ended: `dev`, and a run that may wait for their slots."""

import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import dagster as dg

from orchestration.liveness import end_dead_runs, executor_of

_EVERY_SECONDS = 2.0


class Watch:
    """tell: gets a line for each run that was ended, and one when this cannot look.

    waits: gets a step of the run `run_id` that waits for a slot, and the sentence that says for which runs.
    """

    def __init__(
        self,
        instance: dg.DagsterInstance,
        home: Path,
        tell: Callable[[str], None],
        run_id: str | None = None,
        waits: Callable[[str, str], None] = lambda _step, _line: None,
    ) -> None:
        self._instance, self._home, self._tell = instance, home, tell
        self._run_id, self._waits = run_id, waits
        self._said: dict[str, str] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._stop.wait(_EVERY_SECONDS):
            try:
                self._look()
            except Exception as error:  # a full disk must not end what frees the slots for the days to come
                self._once(
                    "", f"Cannot look for dead runs, trying again: {error}", lambda _step, line: self._tell(line)
                )

    def _look(self) -> None:
        for sentence in end_dead_runs(self._instance, self._home):
            self._tell(sentence)
        if self._run_id is not None:
            for step, line in waited_for(self._instance, self._home, self._run_id):
                self._once(step, line, self._waits)

    def _once(self, step: str, line: str, say: Callable[[str, str], None]) -> None:
        if self._said.get(step) != line:
            self._said[step] = line
            say(step, line)


def waited_for(instance: dg.DagsterInstance, home: Path, run_id: str) -> list[tuple[str, str]]:
    """Each step of the run that waits for a slot that other runs have, with a sentence that names them."""
    storage = instance.event_log_storage
    found = []
    for pool in sorted(storage.get_concurrency_keys()):
        info = storage.get_concurrency_info(pool)
        steps = [step.step_key for step in info.pending_steps if step.run_id == run_id and not step.assigned_timestamp]
        holders = sorted(info.active_run_ids - {run_id})
        if steps and holders:
            names = ", ".join(_named(home, holder) for holder in holders)
            found += [(step, f"waits for a slot of pool {pool}, held by {names}") for step in steps]
    return found


def _named(home: Path, run_id: str) -> str:
    holder = executor_of(home, run_id)
    if holder is None:
        return f"run {run_id[:8]}, of which nothing says whether it lives: if it does not, terminate it in the UI"
    if not holder.is_of_here:
        return f"run {run_id[:8]} of {holder.host}: if it does not live there any more, terminate it in the UI"
    return f"run {run_id[:8]}, process {holder.pid}"
