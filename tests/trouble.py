"""The program `train` in trouble: it sends itself a signal at an exact moment, or its learning rate becomes infinite.

    python -m tests.trouble stop SIGNAL TEXT COUNT
    python -m tests.trouble diverge
    python -m tests.trouble often                     writes a checkpoint after each epoch, however short

A signal from outside comes when it comes: the job runs on while the test that has seen a line reacts to it.
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
    """Send it as it comes: a terminal's Ctrl-C reaches the whole group, SageMaker's SIGTERM this process alone."""
    os.killpg(0, number) if number == signal.SIGINT else signal.raise_signal(number)


def stop_at(name: str, text: str, count: str) -> None:
    """Send the signal at the `count`th moment after a log line that holds `text`; 0: just before the line is written.

    A moment is when the job asks `stop.check`, which it does at each batch in training and in evaluation, or when it
    waits for the check of its artifact, which has begun. A job that ends without the signal ends with exit code 70.
    """
    passed = -1  # moments since the line; it has not come yet

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
        asked()

    def communicate(process: subprocess.Popen[str], *args: Any, **named: Any) -> tuple[Any, Any]:
        if "serve.engine.check" in process.args:
            moment()
        return waited(process, *args, **named)

    def end() -> None:
        if passed <= int(count):
            print(f"The signal was not sent: not {count} moments after a line with {text!r}", flush=True)
            os._exit(70)

    LOG.addFilter(line)
    asked, stop.check = stop.check, check
    waited, subprocess.Popen.communicate = subprocess.Popen.communicate, communicate
    atexit.register(end)


def often() -> None:
    """Write a checkpoint after each epoch."""
    run = entry.main

    def main() -> None:
        from train.job import checkpoints  # imports NumPy

        checkpoints._APART, checkpoints._SHARE = 0, math.inf
        run()

    entry.main = main


def diverge() -> None:
    """Make the learning rate infinite at the first step of lr_scheduler_step.

    No hyperparameter that the tables admit makes a network with BatchNorm overflow after an epoch that did not.
    """
    run = entry.main

    def main() -> None:  # by then `train` has set the thread variables, and a framework may be loaded
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
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # as the job, which has not loaded TensorFlow yet
    from keras import ops
    from keras.optimizers.schedules import PiecewiseConstantDecay

    def infinite(self: PiecewiseConstantDecay, step: Any) -> Any:
        return ops.where(step <= self.boundaries[0], self.values[0], math.inf)

    PiecewiseConstantDecay.__call__ = infinite


if __name__ == "__main__":
    {"stop": stop_at, "diverge": diverge, "often": often}[sys.argv[1]](*sys.argv[2:])
    program.main(["train"])
