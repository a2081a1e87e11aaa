"""`python3 -m local` as a person calls it: a process, its output line by line, deadlines, and signals."""

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
    """A running `python3 -m local ARGUMENTS` whose home folder is `home`; leaving the block ends it."""

    def __init__(self, home: Path, *arguments: object, seconds: float = 240) -> None:
        """Past `seconds` the process is killed, so that no wait below is endless."""
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

    def wait_for(self, words: str) -> str:
        """The next line of output that contains `words`; fails with all of the output when there is none."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line.rstrip("\n"))
            if words in line:
                return line
        raise AssertionError(f"no line with {words!r} in\n" + "\n".join(self.lines))

    def interrupt(self) -> None:
        """Ctrl-C, for this process alone."""
        self._process.send_signal(signal.SIGINT)

    def finish(self) -> int:
        """The exit code, after reading the output to its end."""
        assert self._process.stdout is not None
        self.lines += self._process.stdout.read().splitlines()
        return self._process.wait()


def run(home: Path, *arguments: object) -> tuple[int, list[str]]:
    """The exit code and the lines of output of one `python3 -m local ARGUMENTS`."""
    with Command(home, *arguments) as command:
        code = command.finish()
    return code, command.lines
