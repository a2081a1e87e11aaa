"""Run `python3 -m local` as a subprocess: read its output line by line, set a deadline, and send signals."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

REPOSITORY = Path(__file__).resolve().parents[2]


class Command:
    """A running `python3 -m local ARGUMENTS` with the home folder `home`. Leaving the block ends it."""

    def __init__(self, home: Path, *arguments: object, seconds: float = 240) -> None:
        """Start the process. It is killed `seconds` after the block starts, so that no wait below can hang."""
        hidden = ("AWS_", "SAGEMAKER_", "XDG_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
        docker = environment.get("DOCKER_CONFIG", str(Path.home() / ".docker"))
        self.lines: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "local", *map(str, arguments)],
            env={**environment, "HOME": str(home), "DOCKER_CONFIG": docker, "PYTHONPATH": str(REPOSITORY)},
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._deadline = threading.Timer(seconds, self._process.kill)

    def __enter__(self) -> Self:
        self._deadline.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdout is not None
        if self._process.poll() is None:
            self._process.terminate()
            self.finish()
        self._deadline.cancel()
        self._process.stdout.close()

    def wait_for(self, text: str) -> str:
        """Return the next line of output that contains `text`. Fail with the whole output if there is none."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line.rstrip("\n"))
            if text in line:
                return line
        raise AssertionError(f"no line with {text!r} in\n" + "\n".join(self.lines))

    def interrupt(self) -> None:
        """Send Ctrl-C to this process only."""
        self._process.send_signal(signal.SIGINT)

    def finish(self) -> int:
        """Read the output to its end and return the exit code."""
        assert self._process.stdout is not None
        self.lines += self._process.stdout.read().splitlines()
        return self._process.wait()


def run(home: Path, *arguments: object) -> tuple[int, list[str]]:
    """Run `python3 -m local ARGUMENTS`, and return its exit code and its lines of output."""
    with Command(home, *arguments) as command:
        code = command.finish()
    return code, command.lines
