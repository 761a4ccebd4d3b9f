"""The errors of the rooms, by what went wrong; how each ends a command or a job, its `status` says."""

from recipes.errors import FAILED, INTERRUPTED, TemperError


class StoreError(TemperError):
    """An artefact that is missing or damaged."""

    status = FAILED


class CorpusError(TemperError):
    """Text that cannot be fetched or used; the message says what, where and what to do."""


class TrainingError(TemperError):
    """A job that cannot be done; the message says what, where and what to do."""


class EvaluationError(TemperError):
    """An evaluation that cannot be done; the message is for the person who wrote the recipe."""


class Resumable(TrainingError):
    """A job that is in order and that the machine held up; running it again goes on where it stopped."""

    status = FAILED


class OutOfSpace(Resumable):
    """The disk has no room."""


class Unreachable(Resumable):
    """A server that a job in order needs does not answer; running the job again, with it, goes on where it stopped."""


class Interrupted(Exception):
    """The job was told to stop and did; running it again goes on where it stopped."""

    status = INTERRUPTED
