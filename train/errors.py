"""The two ways a training job fails, told apart the way SageMaker's own images do."""

from collections.abc import Callable
from typing import Self


class TrainError(Exception):
    """The job failed and the user's input is not to blame; the exit code is `errno`, 1.

    The attribute is called `errno` because the training toolkit reads the exit code from it. `detail` goes below the
    message in the failure file.
    """

    errno = 1
    detail = ""


class UserError(TrainError):
    """The job cannot run as asked: a hyperparameter, a channel or the data is wrong; exit code 2."""

    errno = 2


Refuse = Callable[[UserError], None]
"""What is done about one line, record or file that cannot be used: `raise_error`, or note it and go on without it."""


def raise_error(error: UserError) -> None:
    """Raise the error."""
    raise error


class Diverged(UserError):
    """Training has diverged."""

    @classmethod
    def at(cls, what: str, epoch: int, place: str, rate: float) -> Self:
        """Return the error: `what` became not finite at `place` ("batch 3") of `epoch`, from 0, at the rate `rate`."""
        return cls(
            f"{what} at epoch {epoch}, {place}, with learning_rate={rate:g}: lower learning_rate (a tenth is a good "
            "next try)"
        )
