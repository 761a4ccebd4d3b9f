"""Live progress of a run on the terminal, read from the instance's event log while the run goes on.

Step processes and their jobs would write to the same terminal. While the display is open, this process's
stdout and stderr, which they inherit, go to a log file instead (`orchestration.terminal`).
"""

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import dagster as dg
from rich.console import Console
from rich.markup import escape

_POLL_SECONDS = 0.5
_PLAIN_EVERY_SECONDS = 20.0
"""Without a terminal, a node's progress is printed this often."""


_PIPES_OWN = "[pipes] "
"""How Dagster's own remarks about a Pipes session begin; the job's lines come without it."""

_FAILURE = "dagster._core.definitions.events.Failure: "
_CHECK_FAILED = "dagster._core.errors.DagsterAssetCheckFailedError"
_ENDED = "dagster._core.executor.child_process_executor.ChildProcessCrashException"
"""A step's process that is gone without a word: a signal from outside, or want of memory."""


class Display:
    """Prints what happens to each node of a run; `failures` holds the message of each that failed.

    on_failure: called once, from another thread, when the first node has failed.
    """

    def __init__(
        self,
        instance: dg.DagsterInstance,
        run_id: str,
        recipe: str,
        console: Console,
        on_failure: Callable[[], None],
    ) -> None:
        self.failures: dict[str, str] = {}
        self._on_failure = on_failure
        self._instance, self._run_id, self._recipe = instance, run_id, recipe
        self._console = console
        self._status = self._console.status(f"[bold]{recipe}[/] starting") if self._console.is_terminal else None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._since = time.monotonic()
        self._said: dict[str, float] = {}
        self._started: dict[str, float] = {}
        self._reused: set[str] = set()
        self._again: dict[str, str] = {}
        self._unmet: dict[str, list[str]] = {}
        self._cursor: str | None = None

    def __enter__(self) -> Self:
        if self._status is not None:
            self._status.start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._read()
        if self._status is not None:
            self._status.stop()

    def say(self, line: str) -> None:
        self._line("", escape(line))

    def say_of(self, step_key: str, line: str) -> None:
        self._line(self._node(step_key), escape(line))

    def _follow(self) -> None:
        while not self._stop.wait(_POLL_SECONDS):
            self._read()

    def _read(self) -> None:
        while True:
            page = self._instance.get_records_for_run(self._run_id, cursor=self._cursor)
            for record in page.records:
                self._show(record.event_log_entry)
            self._cursor = page.cursor
            if not page.has_more:
                return

    def _show(self, entry: dg.EventLogEntry) -> None:
        if entry.step_key is None:
            return
        node = self._node(entry.step_key)
        event = entry.dagster_event
        if event is None:
            if entry.level == logging.INFO and not entry.user_message.startswith(_PIPES_OWN):
                self._progress(node, entry.user_message)
        elif event.is_step_start:
            self._started[node] = entry.timestamp
        elif event.is_step_materialization:
            metadata = event.step_materialization_data.materialization.metadata
            if "reused" in metadata and metadata["reused"].value:
                self._reused.add(node)
            if "again" in metadata:
                self._again[node] = f", {metadata['again'].value}"
        elif event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            self._checked(node, event.asset_check_evaluation_data)
        elif event.is_step_success:
            seconds = entry.timestamp - self._started.get(node, entry.timestamp)
            made = f"[green]done[/] in {seconds:.1f} s{self._again.get(node, '')}"
            self._line(node, "[cyan]reused[/]" if node in self._reused else made)
        elif event.is_step_failure or event.is_step_up_for_retry:
            self._failed(node, event, again=event.is_step_up_for_retry)

    def _checked(self, node: str, found: dg.AssetCheckEvaluation) -> None:
        """Keep what a check says that ends its node."""
        if not found.passed and found.blocking and found.severity is dg.AssetCheckSeverity.ERROR:
            value = found.metadata["value"].value if "value" in found.metadata else "not reported"
            self._unmet.setdefault(node, []).append(f"{found.check_name}: {value} ({found.description})")

    def _failed(self, node: str, event: dg.DagsterEvent, *, again: bool) -> None:
        message = _message(event)
        if message.startswith(_CHECK_FAILED) and node in self._unmet:
            message = "what was made does not pass its checks, and nothing is built upon it\n  " + "\n  ".join(
                self._unmet[node]
            )
        if message.endswith(dg.DagsterExecutionInterruptedError.__name__):
            self._line(node, "[yellow]stopped[/]")
        elif again:
            self._line(node, f"[yellow]failed, once more:[/] {escape(message)}")
        else:
            self._line(node, "[red]failed[/]")
            first = not self.failures
            self.failures[node] = message
            if first and not self._stop.is_set():  # else the run has ended by itself
                self._on_failure()

    def _progress(self, node: str, message: str) -> None:
        """A line that the node's process wrote for people."""
        if self._status is not None:
            self._status.update(f"[bold]{escape(node)}[/] {escape(message)}")
            return
        now = time.monotonic()
        if now - self._said.get(node, float("-inf")) >= _PLAIN_EVERY_SECONDS:
            self._said[node] = now
            self._line(node, escape(message))

    def _line(self, node: str, text: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - self._since), 60)
        self._console.print(f"[dim]{minutes:02d}:{seconds:02d}[/]  {escape(node):<28} {text}", soft_wrap=True)

    def _node(self, step_key: str) -> str:
        return step_key.removeprefix(f"{self._recipe}__").replace("__", "/")


def _message(event: dg.DagsterEvent) -> str:
    """What a person needs: the message of a `dg.Failure`, else the innermost error."""
    if event.is_step_failure:
        data = event.step_failure_data
        if data.user_failure_data is not None and data.user_failure_data.description:
            return data.user_failure_data.description
        error = data.error
    else:
        error = event.step_retry_data.error
    while error is not None and error.cause is not None:
        error = error.cause
    if error is None:
        return "no message"
    message = error.message.strip()
    if message.startswith(_ENDED):
        return (
            "its process was ended from outside, by a signal or for want of memory; the same command goes on from there"
        )
    return message.removeprefix(_FAILURE)
