"""Runs `train` with an injected problem: a signal at an exact moment, or an infinite learning rate.

    python -m tests.trouble stop SIGNAL TEXT COUNT
    python -m tests.trouble diverge
    python -m tests.trouble often                     writes a checkpoint after each epoch, even a short one

The process sends the signal to itself, because a signal from the test would arrive too late: the job keeps running
while the test reacts to a log line.
"""

import atexit
import logging
import math
import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

from train import __main__ as program
from train import entry
from train.job import stop
from train.log import LOG


def send(number: signal.Signals) -> None:
    """Send SIGINT to the process group, as a terminal does, and other signals to this process, as SageMaker does."""
    os.killpg(0, number) if number == signal.SIGINT else signal.raise_signal(number)


def stop_at(name: str, text: str, count: str) -> None:
    """Send the signal at the `count`th moment after a log line with `text`, or just before that line if `count` is 0.

    A moment is a call of `stop.check`, which happens at each batch of training and evaluation, or the start of waiting
    for the artifact's check. If the job ends before the signal was sent, the exit code is 70.
    """
    passed = -1  # moments since the line; -1 before the line

    def moment() -> None:
        nonlocal passed
        if passed < 0:
            return
        passed += 1
        if passed == int(count) + 1:
            send(signal.Signals[name])

    def line(record: logging.LogRecord) -> bool:
        nonlocal passed
        if passed < 0 and text in record.getMessage():
            passed = 0
            moment()
        return True

    def check() -> None:
        moment()
        original_check()

    def communicate(process: subprocess.Popen[str], *args: Any, **named: Any) -> tuple[Any, Any]:
        if "serve.engine.check" in process.args:
            moment()
        return original_communicate(process, *args, **named)

    def end() -> None:
        if passed <= int(count):
            print(f"The signal was not sent: not {count} moments after a line with {text!r}", flush=True)
            os._exit(70)

    LOG.addFilter(line)
    original_check, stop.check = stop.check, check
    original_communicate, subprocess.Popen.communicate = subprocess.Popen.communicate, communicate
    atexit.register(end)


def often() -> None:
    """Write a checkpoint after each epoch."""
    run = entry.main

    def main() -> None:
        from train.job import checkpoints  # imports NumPy

        checkpoints._MIN_INTERVAL, checkpoints._MAX_SHARE = 0, math.inf
        run()

    entry.main = main


def diverge() -> None:
    """Make the learning rate infinite at the first step of lr_scheduler_step.

    No valid hyperparameters make a network with BatchNorm overflow only after a finite epoch.
    """
    run = entry.main

    def main() -> None:  # runs after `train` has set the thread variables, so it may import a framework
        _make_keras_diverge() if find_spec("keras") else _make_mxnet_diverge()
        run()

    entry.main = main


def _make_mxnet_diverge() -> None:
    from mxnet.lr_scheduler import MultiFactorScheduler

    make = MultiFactorScheduler.__init__

    def infinite(self: MultiFactorScheduler, *args: Any, **named: Any) -> None:
        make(self, *args, **named)
        self.factor = math.inf

    MultiFactorScheduler.__init__ = infinite


def _make_keras_diverge() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # as the job does, which has not loaded TensorFlow yet
    from keras import ops
    from keras.optimizers.schedules import PiecewiseConstantDecay

    def infinite(self: PiecewiseConstantDecay, step: Any) -> Any:
        return ops.where(step <= self.boundaries[0], self.values[0], math.inf)

    PiecewiseConstantDecay.__call__ = infinite


if __name__ == "__main__":
    {"stop": stop_at, "diverge": diverge, "often": often}[sys.argv[1]](*sys.argv[2:])
    program.main(["train"])
