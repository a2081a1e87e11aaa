"""The loop over epochs for all algorithms: progress, divergence, stop requests, best epoch, early stopping."""

import time
from collections.abc import Callable, Iterator
from typing import Any, Generic, Protocol

import numpy as np
from numpy.typing import NDArray

from train.data.samples import ordered_batches
from train.early_stopping import EarlyStopping
from train.epoch import Clock, Epoch, Mean, single_host, steps
from train.errors import Diverged
from train.hyperparameter_types import CommonHyperparameters
from train.job import stop
from train.learner import B, Best, Evaluated, K, Learner, R
from train.log import SILENCE, LogInterval, Progress
from train.state import State


class Folder(Protocol):
    """The folder that epochs are written to."""

    def save(self, epoch: int, improved: bool, before: int | None) -> None:
        """Write `epoch`, from 0, if it is the best so far or due to be kept; the previous best was `before`."""
        ...


class Trainer(Generic[B, R, K]):
    """Trains a learner epoch by epoch. `best` is the best epoch so far, or None before the first one is complete.

    `checkpoint` is called with the trainer's state after each epoch. `mean` averages an epoch's metrics, float64 (n,),
    across the hosts.
    """

    def __init__(
        self,
        learner: Learner[B, R, K],
        hp: CommonHyperparameters,
        folder: Folder,
        checkpoint: Callable[[State], None] | None = None,
        mean: Mean = single_host,
    ) -> None:
        self.best: Best[K] | None = None
        self._learner, self._step, self._lines = learner, learner.step, learner.lines
        self._hp, self._folder, self._checkpoint, self._mean = hp, folder, checkpoint, mean
        self._stopping, self._next = EarlyStopping(hp), 0

    def run(self) -> None:
        """Train the remaining epochs, until early stopping or a stop request.

        Raises Diverged if the loss or a prediction is not finite.
        """
        with self._learner.devices():
            self._run()

    def _run(self) -> None:
        length = len(self._learner.batches)
        self._lines.started(length)
        first = self._next
        clock = Clock((self._hp.epochs - first) * length)
        for number in range(first, self._hp.epochs):
            if number and self._stopping.ends(number - 1):
                return
            epoch = Epoch(number, self._hp.mini_batch_size, (number - first) * length, clock)
            try:
                value = self._train_and_evaluate(epoch)
            except stop.Stopped:
                return
            self._next = number + 1
            self._stopping.note(value)
            if self._checkpoint is not None:
                self._checkpoint(self.state())

    def _train_and_evaluate(self, epoch: Epoch) -> float:
        """Return the value of the epoch's evaluation. Raises Stopped and Diverged."""
        train(self._learner, epoch, self._mean)
        self._lines.trained(epoch)
        start = time.monotonic()
        try:
            result = self._learner.evaluate()
        except FloatingPointError:
            rate = self._step.learning_rate
            raise Diverged.at("the predictions became nan", epoch.number, "during validation", rate) from None
        self._lines.evaluated(epoch, result, time.monotonic() - start)
        self._keep(epoch, result)
        self._lines.ended(epoch)
        return result.value

    def _keep(self, epoch: Epoch, result: Evaluated[K]) -> None:
        before = self.best
        improved = before is None or result.value > before.value
        if improved:
            trained = {f"train:{name}": value for name, value in epoch.metrics.items()}
            validated = {f"validation:{name}": value for name, value in result.metrics.items()}
            self.best = Best(result.value, trained | validated, result.kept, epoch.number)
            stop.keep_model()
            self._lines.improved(self.best)
        self._folder.save(epoch.number, improved, None if before is None else before.epoch)

    def state(self) -> State:
        """Return the state that the next epochs depend on. Call this between two epochs."""
        best = self.best and {
            "epoch": self.best.epoch,
            "value": self.best.value,
            "metrics": dict(self.best.metrics),
            "kept": self.best.kept,
        }
        return {"next": self._next, "best": best, "early_stopping": self._stopping.state(), "step": self._step.state()}

    def restore(self, state: State) -> None:
        """Resume from the state of another trainer. The model folder must contain its best epoch."""
        self._next = state["next"]
        best = state["best"]
        self.best = best and Best(best["value"], best["metrics"], best["kept"], best["epoch"])
        self._stopping.restore(state["early_stopping"])
        self._step.restore(state["step"])
        if self.best is not None:
            stop.keep_model()


def train(learner: Learner[B, R, Any], epoch: Epoch, mean: Mean = single_host) -> None:
    """Train one epoch; `mean` averages its metrics across the hosts.

    Raises Stopped, and Diverged if the loss is not finite.
    """
    step, lines, interval = learner.step, learner.lines, LogInterval(learner.lines.every)
    step.begin(epoch.number)
    for batch, result in steps(learner.batches.epoch(epoch.number), step):
        measured = step.read(batch, result)
        if not np.isfinite(measured.loss):
            place = f"batch {epoch.count}"
            raise Diverged.at(f"the loss became {measured.loss}", epoch.number, place, step.learning_rate)
        epoch.add(measured.values)
        if interval.due(epoch.count - 1 + lines.first):
            lines.speed(epoch, step.learning_rate)
    step.end()
    epoch.close(mean)


def validation_batches(
    tensor: Callable[[int], NDArray[np.float32]], count: int, size: int
) -> Iterator[NDArray[np.float32]]:
    """Yield tensor(0) ... tensor(count - 1) in batches, like `samples.ordered_batches`, and log the progress.

    Raises Stopped.
    """
    progress = Progress("Validation images", count, SILENCE)
    for number, batch in enumerate(ordered_batches(tensor, count, size), 1):
        stop.check()
        yield batch
        progress.done(min(number * len(batch), count))
