"""What the classifiers of both frameworks share: an epoch and its lines, the best epoch, its check."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from train import export
from train.classification import metrics
from train.classification.hyperparameters import ClassifierHyperparameters
from train.classification.labelled import Label, stack_labels
from train.classification.metrics import Labels
from train.data import samples
from train.data.samples import Sample
from train.divergence import Diverged
from train.early_stopping import EarlyStopping
from train.epoch import Batches, steps, time_left
from train.job import stop
from train.log import LOG, Pace

SPEED_EVERY = 20  # batches; the built-in's Speedometer
EVALUATION_BATCH = 32
# Samples of the closing checks; after a stop request only as many as the remaining seconds surely allow.
_TENSORS, _FILES, _FILES_STOPPED = 8, 2000, 64


X = TypeVar("X")  # what the network is fed
L = TypeVar("L", bound=Labels)
X_contra = TypeVar("X_contra", contravariant=True)
L_contra = TypeVar("L_contra", bound=Labels, contravariant=True)


class Step(Protocol[X_contra, L_contra]):
    """One update of a network, whatever its framework; that alone knows the type of what is still under way."""

    @property
    def learning_rate(self) -> float:
        """The rate of the next update."""
        ...

    def __call__(self, images: X_contra, labels: L_contra, /) -> tuple[Any, Any]:
        """Update the network on a batch; return two results that may still be under way."""
        ...

    def read(self, first: Any, second: Any, /) -> tuple[float, NDArray[np.float32]]:
        """Return the batch's mean loss and its probabilities, float32 (N, K), when they are there."""
        ...


class Validation(Protocol):
    """The validation data as the closing check needs it."""

    @property
    def validation(self) -> Sequence[Sample[Label]]:
        """The samples, all of them readable."""
        ...

    def validation_tensor(self, index: int) -> NDArray[np.float32]:
        """Return float32 (C, H, W): the same numbers that the server makes of the sample's bytes."""
        ...


@dataclass
class Best:
    """The best epoch so far: its number from 0, its metrics, and `correct` per validation sample, float64 (N,)."""

    epoch: int = -1
    accuracy: float = -1.0
    metrics: dict[str, float] = field(default_factory=dict)
    correct: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))


class Epoch(Generic[X, L]):
    """One pass over the training data, with the built-in's lines and the time left of the whole job."""

    def __init__(
        self,
        number: int,
        step: Step[X, L],
        batches: Batches[tuple[X, L]],
        hp: ClassifierHyperparameters,
        job_start: float,
    ) -> None:
        self._number, self._step, self._batches, self._hp, self._job_start = number, step, batches, hp, job_start
        self._correct: list[NDArray[np.float64]] = []
        self._top_k: list[NDArray[np.float64]] = []
        self._start = self._said = time.monotonic()
        self._said_at = -1
        self._pace = Pace(SPEED_EVERY)

    def run(self) -> dict[str, float]:
        """Train and return the epoch's metrics by name. Raises Stopped, or Diverged at a loss that is not finite."""
        for number, (_, labels), results in steps(self._batches.epoch(self._number), self._step):
            self._finish(number, labels, *self._step.read(*results))
        found = {"accuracy": float(np.concatenate(self._correct).mean())}
        if self._hp.top_k:
            found[f"top_k_accuracy_{self._hp.top_k}"] = float(np.concatenate(self._top_k).mean())
        return found

    def _finish(self, number: int, labels: Labels, loss: float, probabilities: NDArray[np.float32]) -> None:
        if not np.isfinite(loss):
            raise Diverged(f"the loss became {loss}", self._number, f"batch {number}", self._step.learning_rate)
        self._correct.append(metrics.correct(probabilities, labels))
        if self._hp.top_k and metrics.one_class_each(labels):
            self._top_k.append(metrics.top_k_correct(probabilities, labels, self._hp.top_k))
        if self._pace.due(number):
            self._say_speed(number)

    def _say_speed(self, number: int) -> None:
        now = time.monotonic()
        speed = (number - self._said_at) * self._hp.mini_batch_size / (now - self._said)
        self._said, self._said_at = now, number
        length = len(self._batches)
        left = time_left(self._job_start, self._number * length + number + 1, self._hp.epochs * length)
        accuracy = np.concatenate(self._correct).mean()
        LOG.info(
            "Epoch[%d] Batch [%d]\tSpeed: %.2f samples/sec\taccuracy=%f\ttime left: %s",
            self._number,
            number,
            speed,
            accuracy,
            left,
        )


def fit(
    step: Step[X, L],
    batches: Batches[tuple[X, L]],
    evaluate: Callable[[], NDArray[np.float32]],
    labels: Labels,
    hp: ClassifierHyperparameters,
    best: Best,
    save: Callable[[int, bool], None],
    checkpoint_frequency: int | None = None,
) -> None:
    """Train all epochs; `best` holds the best so far, and `save(epoch, is_best)` is called for each worth a file.

    Worth one are better epochs, and every n-th by `checkpoint_frequency`.

    `evaluate` returns probabilities float32 (N, K) of the validation samples, whose labels are `labels`, or raises
    Stopped. Ends early on a stop request or by early stopping. Raises Diverged at a loss or an answer that is not
    finite.
    """
    ending, start = EarlyStopping(hp), time.monotonic()
    for number in range(hp.epochs):
        began = time.monotonic()
        try:
            trained = Epoch(number, step, batches, hp, start).run()
            _say(number, "Train", trained)
            LOG.info("Epoch[%d] Time cost=%.3f", number, time.monotonic() - began)
            probabilities = evaluate()
        except stop.Stopped:
            return
        if not np.isfinite(probabilities).all():
            raise Diverged("the answers became nan", number, "its end", step.learning_rate)
        correct = metrics.correct(probabilities, labels)
        validated = {"accuracy": float(correct.mean())}
        if hp.top_k and metrics.one_class_each(labels):
            validated[f"top_k_accuracy_{hp.top_k}"] = float(
                metrics.top_k_correct(probabilities, labels, hp.top_k).mean()
            )
        _say(number, "Validation", validated)
        if validated["accuracy"] > best.accuracy:
            named = {f"train:{name}": value for name, value in trained.items()} | {
                f"validation:{name}": value for name, value in validated.items()
            }
            best.epoch, best.accuracy, best.metrics, best.correct = number, validated["accuracy"], named, correct
            stop.keep_model()
            LOG.info("Storing the best model with validation accuracy: %f", best.accuracy)
            save(number, True)
        elif checkpoint_frequency and (number + 1) % checkpoint_frequency == 0:
            save(number, False)
        if ending.ends(number, validated["accuracy"]):
            return


def _say(epoch: int, what: str, values: dict[str, float]) -> None:
    for name, value in values.items():
        LOG.info("Epoch[%d] %s-%s=%f", epoch, what, name, value)


def verify(
    folder: Path,
    data: Validation,
    best: Best,
    predict: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    framework: str,
) -> None:
    """Prove that the artifact in `folder` answers as the network did; raises as export.verify does.

    `predict` is the network itself in `framework`: float32 (N, C, H, W) to probabilities, float32 (N, K).
    """
    LOG.info("Checking the artifact with the server's own code")
    chosen = samples.spread(len(data.validation), _FILES_STOPPED if stop.requested() else _FILES)
    labels = stack_labels([data.validation[i] for i in chosen])
    tensors = np.stack([data.validation_tensor(i) for i in chosen[:_TENSORS]])
    export.verify(
        folder,
        tensors,
        {export.OUTPUT: predict(tensors)},
        [data.validation[i] for i in chosen],
        metric=lambda answers: float(metrics.correct(np.stack(answers), labels).mean()),
        logged=float(best.correct[chosen].mean()),
        framework=framework,
    )
