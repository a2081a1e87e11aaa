"""The two ways a training job fails, told apart the way SageMaker's own images do."""


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
