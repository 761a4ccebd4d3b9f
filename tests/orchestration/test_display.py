"""What a person is told of a step that failed."""

from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from rich.console import Console

from orchestration.display import Display, _message


def failed(message: str, cause: Any = None, described: str | None = None) -> Any:
    """As much of Dagster's event of a failed step as is read."""
    error = SimpleNamespace(message=f"{message}\n", cause=cause and SimpleNamespace(message=f"{cause}\n", cause=None))
    user = described and SimpleNamespace(description=described)
    return SimpleNamespace(is_step_failure=True, step_failure_data=SimpleNamespace(user_failure_data=user, error=error))


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (failed("dagster._core.definitions.events.Failure: no rows"), "no rows"),
        (failed("outer", cause="ValueError: inner"), "ValueError: inner"),
        (failed("outer", described="as the node says it"), "as the node says it"),
        (
            failed("dagster._core.executor.child_process_executor.ChildProcessCrashException"),
            "its process was ended from outside, by a signal or for want of memory; "
            "the same command goes on from there",
        ),
    ],
)
def test_it_is_the_innermost_reason_in_words(event: Any, said: str) -> None:
    assert _message(event) == said


def test_a_node_that_fails_its_checks_says_what_they_found() -> None:
    specs = [dg.AssetCheckSpec(name, asset="x", blocking=True) for name in ("sound", "whole")]

    @dg.asset(name="x", check_specs=specs)
    def made() -> Any:
        for spec, passed in zip(specs, (False, True), strict=True):
            yield dg.AssetCheckResult(
                check_name=spec.name,
                passed=passed,
                metadata={"value": "22 of 30 are empty"},
                description="None is empty.",
            )
        yield dg.Output(None)

    with dg.DagsterInstance.ephemeral() as instance:
        run = dg.materialize([made], instance=instance, raise_on_error=False)
        display = Display(instance, run.run_id, "r", Console(quiet=True), on_failure=lambda: None)
        with display:
            pass
    assert "sound: 22 of 30 are empty (None is empty.)" in display.failures["x"]
    assert "whole" not in display.failures["x"] and "dagster._core" not in display.failures["x"]
