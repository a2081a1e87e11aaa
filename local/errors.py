"""The exceptions that `local.__main__` prints as one line, without a traceback."""


class UserError(Exception):
    """The user must change something; exit code 2. The message names the file or option and the fix."""


class CommandFailed(Exception):
    """The command started and failed; exit code 1. The message begins with the reason."""
