"""Handle SIGTERM and SIGINT: stop soon, keep the best model so far, and exit with code 0.

SageMaker sends SIGTERM, kills the process 120 seconds later, and uploads the content of the model folder. Until the
trainer has a model to keep, the handler ends the process immediately. After `keep_model`, it only records the request,
and the training loop calls `check` between batches, so that no file is left incomplete. While a user's script runs, the
signal is forwarded to it.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

_state = {"requested": False, "keeping": False, "abruptly": False}
_delegates: list[Callable[[int], None]] = []
_exit_message = ["before any epoch was finished: there is no model to keep."]
_leave: list[Callable[[], object]] = [lambda: os._exit(0)]
_failed: list[Exception] = []


class Stopped(Exception):
    """The job was asked to stop, and must still finish the model."""


def install() -> None:
    """Install the handlers for SIGTERM and SIGINT. A second SIGINT kills the process as usual."""
    signal.signal(signal.SIGTERM, _handle)
    signal.signal(signal.SIGINT, _handle)


@contextmanager
def forwarded_to(delegate: Callable[[int], None]) -> Iterator[None]:
    """Forward stop requests in the block to `delegate`. The signal handler calls it with the signal's number."""
    _delegates.append(delegate)
    try:
        yield
    finally:
        _delegates.remove(delegate)


def _handle(number: int, frame: FrameType | None) -> None:
    message = f"Asked to stop ({signal.Signals(number).name} received)"
    if _delegates:
        _state["requested"] = True
        _print(f"{message}: forwarding it to the running process.\n")
        _delegates[-1](number)
        return
    if number == signal.SIGINT:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if not _state["keeping"]:
        _print(f"{message} {' '.join(_exit_message)} Stopping.\n")
        _leave[-1]()
        return
    _state["requested"] = True
    _print(f"{message}: finishing the current batch, then keeping the best model so far.\n")


def _print(text: str) -> None:
    # Uses os.write because the handler may interrupt a print, and buffered streams are not reentrant.
    os.write(sys.stdout.fileno(), text.encode())


def add_to_exit_message(text: str) -> None:
    """Add to the message that the handler prints if it ends the process, that is, before any epoch was finished."""
    _exit_message.append(text)


def keep_checkpoints(folder: Path) -> None:
    """Mention the checkpoints in `folder` in the message that the handler prints if it ends the process."""
    _exit_message[0] = (
        f"before training resumed: the checkpoints in {folder} are kept, and the next job resumes from them."
    )


def keep_model() -> None:
    """From now on, do not end the process in the handler, because there is a model to finish."""
    _state["keeping"] = True


def exit_with(leave: Callable[[], object]) -> None:
    """Call `leave` instead of os._exit if there is no model to keep. `leave` must end the process soon, with code 0."""
    _leave.append(leave)


def fail(error: Exception) -> None:
    """Make `check` raise this error, unless there was an earlier one. Called by threads that detect a failure."""
    _failed.append(error)


def end_abruptly() -> None:
    """Make `end` skip Python's shutdown, in which MXNet would wait for hosts that are gone."""
    _state["abruptly"] = True


def end(code: object) -> None:
    """End the process with this exit code if `end_abruptly` was called; otherwise return."""
    if _state["abruptly"]:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def requested() -> bool:
    """Return whether the job was asked to stop."""
    return _state["requested"]


def check() -> None:
    """Raise Stopped if the job was asked to stop, or else the error that was passed to `fail`."""
    if _state["requested"]:
        raise Stopped
    if _failed:
        raise _failed[0]
