"""What a command of `python3 -m local` tells its user before it ends; `local.__main__` prints it without a trace."""


class UserError(Exception):
    """The command cannot be done as asked: exit code 2. The message names the file or option and the fix."""


class CommandFailed(Exception):
    """What was asked for was begun and went wrong: exit code 1. The message begins with the reason."""
