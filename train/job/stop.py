"""SIGTERM and SIGINT: stop soon, keep the best model so far, end with exit code 0.

SageMaker sends SIGTERM and kills 120 seconds later; what lies in the model folder by then is uploaded. Until the
trainer has something to keep, the handler ends the process at once. From `keep_model` on it only takes note,
and the training loop asks `requested` between batches, so that no file is ever left half written. While a script of
the user's runs, the signal is the script's.
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
    """The job was asked to stop; what is worth keeping has still to be finished."""


def install() -> None:
    """Handle SIGTERM and SIGINT from here on; a second SIGINT kills as usual."""
    signal.signal(signal.SIGTERM, _handle)
    signal.signal(signal.SIGINT, _handle)


@contextmanager
def forwarded_to(delegate: Callable[[int], None]) -> Iterator[None]:
    """Pass every stop request inside the block on to `delegate`, called with the signal's number in the handler."""
    _delegates.append(delegate)
    try:
        yield
    finally:
        _delegates.remove(delegate)


def _handle(number: int, frame: FrameType | None) -> None:
    asked = f"Asked to stop ({signal.Signals(number).name} received)"
    if _delegates:
        _state["requested"] = True
        _say(f"{asked}: what is running now is told.\n")
        _delegates[-1](number)
        return
    if number == signal.SIGINT:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if not _state["keeping"]:
        _say(f"{asked} {' '.join(_exit_message)} Stopping.\n")
        _leave[-1]()
        return
    _state["requested"] = True
    _say(f"{asked}: finishing the current batch, then keeping the best model so far.\n")


def _say(text: str) -> None:
    # os.write: the handler may interrupt a print, and buffered streams refuse re-entry.
    os.write(sys.stdout.fileno(), text.encode())


def add_to_exit_message(text: str) -> None:
    """Say this too when the process ends inside the handler, which is when no epoch was finished."""
    _exit_message.append(text)


def keep_checkpoints(folder: Path) -> None:
    """Say, when the process ends inside the handler, that the next one goes on from the checkpoints in `folder`."""
    _exit_message[0] = f"before training went on: the checkpoints in {folder} are kept, and the job goes on from there."


def keep_model() -> None:
    """From now on a stop request leaves work to finish, so the process must not end inside the handler."""
    _state["keeping"] = True


def exit_with(leave: Callable[[], object]) -> None:
    """Call this to end the process where nothing is to be kept, soon and with exit code 0, in place of os._exit."""
    _leave.append(leave)


def fail(error: Exception) -> None:
    """Let `check` raise this error from now on, if it is the first: another thread has seen why the job fails."""
    _failed.append(error)


def end_abruptly() -> None:
    """Let `end` end the process without what Python does at its end: MXNet would wait there for hosts that are gone."""
    _state["abruptly"] = True


def end(code: object) -> None:
    """End the process with this exit code if it is to end abruptly; otherwise return."""
    if _state["abruptly"]:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def requested() -> bool:
    """Return whether the job was asked to stop."""
    return _state["requested"]


def check() -> None:
    """Raise Stopped if the job was asked to stop, or else the error that it fails with."""
    if _state["requested"]:
        raise Stopped
    if _failed:
        raise _failed[0]
