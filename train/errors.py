"""The errors of a training job. As in SageMaker's own images, user errors are distinct from internal errors."""

from collections.abc import Callable
from typing import Self


class TrainError(Exception):
    """The job failed, but not because of the user's input. The exit code is 1.

    The training toolkit reads the exit code from the attribute `errno`. `detail` is written below the message in the
    failure file.
    """

    errno = 1
    detail = ""


class UserError(TrainError):
    """A hyperparameter, a channel or the data is invalid. The exit code is 2."""

    errno = 2


Refuse = Callable[[UserError], None]
"""A handler for an invalid line, record or file: `raise_error`, or a function that reports the error and returns."""


def raise_error(error: UserError) -> None:
    """Raise the error."""
    raise error


class Diverged(UserError):
    """The training diverged."""

    @classmethod
    def at(cls, what: str, epoch: int, place: str, rate: float) -> Self:
        """Return the error for a non-finite value, described by `what`, at `place` ("batch 3") of `epoch`, from 0."""
        return cls(
            f"{what} at epoch {epoch}, {place}, with learning_rate={rate:g}: lower learning_rate (a tenth is a good "
            "next try)"
        )
