"""Entry point of `python3 -m local COMMAND`: runs the command in its environment and prints errors on one line.

Uses only the standard library of Python 3.9, because the system's python3 runs it.
"""

import argparse
import errno
import importlib
import os
import signal
import sys
from pathlib import Path

from local import ENVIRONMENTS, ROOT
from local.errors import CommandFailed, UserError

# Only the requested command's module, local.commands.COMMAND, is imported: some imports take seconds.
COMMANDS = {
    "data": "download the Oxford-IIIT Pet data set",
    "prepare": "write the channels of a training job from a data set",
    "inspect": "check the channels of a training job for problems",
    "weights": "check and convert a file of pretrained weights",
    "quantize": "add an int8 graph to a model, if its predictions match the float graph's",
    "demo": "train, serve and predict on this machine, without Docker",
    "train": "train with an image in SageMaker local mode",
    "deploy": "serve a model in SageMaker local mode",
    "predict": "send photos to an endpoint on this machine",
    "hyperparameters": "print an algorithm's hyperparameters as a Markdown table",
    "build": "build an image with Docker; needs no environment",
    "push": "push built images to a registry, such as Amazon ECR, and print their URIs",
    "sbom": "write the software bill of materials of built images, as CycloneDX",
    "local-mode": "train, deploy and predict in SageMaker local mode, in one go",
}
BARE = {"build"}
"""Commands that use only the standard library and run without an environment."""
ENVIRONMENT = ENVIRONMENTS / "dev"
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def main(arguments: list[str]) -> int:
    """Run one command and return its exit code: 0 success, 1 failure, 2 user error, 130 interrupted."""
    overview = argparse.ArgumentParser(prog="python3 -m local", description="Command-line tools for a laptop.")
    overview.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="see below; each command has --help")
    overview.formatter_class = argparse.RawDescriptionHelpFormatter
    overview.epilog = "commands:\n" + "\n".join(f"  {command:<16} {purpose}" for command, purpose in COMMANDS.items())
    command = overview.parse_args(arguments[:1]).command
    module = importlib.import_module(f"local.commands.{command.replace('-', '_')}")
    parser = argparse.ArgumentParser(prog=f"python3 -m local {command}", description=module.__doc__)
    module.add_arguments(parser)
    args = parser.parse_args(arguments[1:])
    signal.signal(signal.SIGTERM, _exit_on_signal)
    try:
        code: int = module.run(args)
        return code
    except UserError as error:
        print(f"{command}: {error}", file=sys.stderr)
        return 2
    except CommandFailed as error:
        print(f"{command}: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno not in _NO_SPACE:
            raise
        print(
            f"{command}: {error.filename or 'a file'} cannot be written ({error.strerror}): free some space, or write "
            "to another disk",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print(f"{command}: interrupted", file=sys.stderr)
        return 130


def _exit_on_signal(number: int, frame: object) -> None:
    """Exit through an exception, so that `finally` blocks run, as they do on Ctrl-C."""
    raise SystemExit(128 + number)


def _enter_environment() -> None:
    """Run the command again in the interpreter of .venvs/dev, unless this process already uses it."""
    if Path(sys.prefix).resolve() == ENVIRONMENT.resolve():
        return
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        sys.exit(f"{ENVIRONMENT} does not exist: run `make envs` once (about a minute), then try again")
    root = str(ROOT)
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    os.execve(python, [str(python), "-m", "local", *sys.argv[1:]], {**os.environ, "PYTHONPATH": path})


if __name__ == "__main__":
    if any(argument not in {"-h", "--help", *BARE} for argument in sys.argv[1:2]):
        _enter_environment()
    sys.exit(main(sys.argv[1:]))
