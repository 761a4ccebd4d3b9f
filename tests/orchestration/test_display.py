"""What a person is told of a step that failed."""

from types import SimpleNamespace
from typing import Any

import pytest

from orchestration.display import _message


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
