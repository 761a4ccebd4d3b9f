"""What a person is told instead of a traceback, and the exit status that goes with it."""

DONE, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 75
"""Exit codes of every command and job: done; failed; bad input, do not retry; stopped, resume by running again."""


class TemperError(Exception):
    """What the message says, a person can mend: it names file, field or line and what to do."""

    status = REFUSED


class RecipeError(TemperError):
    """A recipe that cannot be used; the message is for the person who wrote it."""
