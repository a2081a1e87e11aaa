"""`python3 -m local COMMAND`: finds the command, its environment and its module, and prints its errors in one line.

Standard library only, of Python 3.9: this is what a machine's own python3 runs.
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

# command: what it does. Its module, local.commands.COMMAND, is imported only when it is asked for: some cost seconds.
COMMANDS = {
    "data": "download the Oxford-IIIT Pet data set",
    "prepare": "write an algorithm's channels from the data set",
    "inspect": "look at the channels of a job, and at what will go wrong with it",
    "weights": "check and convert a file of pretrained weights",
    "quantize": "add an int8 graph to a model, if it answers like the float one",
    "demo": "train, serve and predict on this machine, without Docker",
    "train": "train an image in SageMaker local mode",
    "deploy": "serve a model in SageMaker local mode",
    "predict": "send photos to an endpoint on this machine",
    "hyperparameters": "print the documentation's table of an algorithm's hyperparameters",
    "build": "build an image with Docker; needs no environment",
    "push": "push built images to a registry, ECR among them, and print their URIs",
    "sbom": "write what is in built images as CycloneDX",
    "local-mode": "train, deploy and predict in SageMaker local mode, in one go",
}
BARE = {"build"}
"""The commands of the standard library alone, which run without an environment."""
ENVIRONMENT = ENVIRONMENTS / "dev"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def main(arguments: list[str]) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 the user's mistake, 130 interrupted."""
    overview = argparse.ArgumentParser(prog="python3 -m local", description="What runs on a laptop.")
    overview.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of those below; each has a --help")
    overview.formatter_class = argparse.RawDescriptionHelpFormatter
    overview.epilog = "commands:\n" + "\n".join(f"  {command:<16} {purpose}" for command, purpose in COMMANDS.items())
    command = overview.parse_args(arguments[:1]).command
    module = importlib.import_module(f"local.commands.{command.replace('-', '_')}")
    parser = argparse.ArgumentParser(prog=f"python3 -m local {command}", description=module.__doc__)
    module.add_arguments(parser)
    args = parser.parse_args(arguments[1:])
    signal.signal(signal.SIGTERM, _end)
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
        if error.errno not in _FULL:
            raise
        where = f"{error.filename} cannot" if error.filename else "A file cannot"
        print(
            f"{command}: {where} be written ({error.strerror}): free some space, or write to another disk",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print(f"{command}: interrupted", file=sys.stderr)
        return 130


def _end(number: int, frame: object) -> None:
    """SIGTERM ends the command the way Ctrl-C does: every `finally` runs."""
    raise SystemExit(128 + number)


def _enter_environment() -> None:
    """Start again with the interpreter of .venvs/dev, unless this is it."""
    if Path(sys.prefix).resolve() == ENVIRONMENT.resolve():
        return
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        sys.exit(f"{ENVIRONMENT} is not there yet: run `make envs` once (about a minute), then this again")
    root = str(ROOT)
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    os.execve(python, [str(python), "-m", "local", *sys.argv[1:]], {**os.environ, "PYTHONPATH": path})


if __name__ == "__main__":
    if any(argument not in {"-h", "--help", *BARE} for argument in sys.argv[1:2]):
        _enter_environment()
    sys.exit(main(sys.argv[1:]))
