"""A user's mistake ends a step with one message and no retry."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from assets.mistakes import USER_ERRORS


@contextmanager
def plain_failures() -> Iterator[None]:
    """Turn the errors that a person can mend into `dg.Failure` with the message alone."""
    try:
        yield
    except USER_ERRORS as error:
        raise dg.Failure(description=str(error), allow_retries=False) from None
