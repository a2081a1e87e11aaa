"""The answers of a classifier: measured on a batch, on the validation samples, and in the closing check."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from train.classification import metrics
from train.classification.labelled import Label, stack_labels
from train.classification.metrics import Labels
from train.data.samples import Sample
from train.learner import Best, Evaluated, Measured
from train.verify import Check, choose

OUTPUT = "probabilities"
"""The name of the graph's only output."""
EVALUATION_BATCH = 32
# Samples of the closing checks; after a stop request only as many as the remaining seconds surely allow.
_TENSORS, _FILES, _FILES_STOPPED = 8, 2000, 64


class Validation(Protocol):
    """The validation data as the closing check needs it."""

    @property
    def validation(self) -> Sequence[Sample[Label]]:
        """The samples, all of them readable."""
        ...

    def validation_tensor(self, index: int) -> NDArray[np.float32]:
        """Return float32 (C, H, W): the same numbers that the server makes of the sample's bytes."""
        ...


def measure(loss: float, probabilities: NDArray[np.float32], labels: Labels, top_k: int | None) -> Measured:
    """Return what a batch's probabilities, float32 (N, K), are worth."""
    return Measured(loss, _by_name(probabilities, labels, top_k))


def evaluate(probabilities: NDArray[np.float32], labels: Labels, top_k: int | None) -> Evaluated[NDArray[np.float64]]:
    """Return what the validation samples' probabilities are worth; what is kept is `correct`, one value per sample.

    Raises FloatingPointError when they are not finite.
    """
    if not np.isfinite(probabilities).all():
        raise FloatingPointError("the probabilities are not finite")
    found = _by_name(probabilities, labels, top_k)
    means = {name: float(values.mean()) for name, values in found.items()}
    return Evaluated(means["accuracy"], means, found["accuracy"])


def _by_name(probabilities: NDArray[np.float32], labels: Labels, top_k: int | None) -> dict[str, NDArray[np.float64]]:
    found = {"accuracy": metrics.correct(probabilities, labels)}
    if top_k and metrics.one_class_each(labels):
        found[f"top_k_accuracy_{top_k}"] = metrics.top_k_correct(probabilities, labels, top_k)
    return found


def check(
    data: Validation,
    best: Best[NDArray[np.float64]],
    predict: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    framework: str,
) -> Check:
    """Return what proves that the artifact answers as the network did.

    `predict` is the network itself in `framework`: float32 (N, C, H, W) to probabilities, float32 (N, K).
    """
    chosen = choose(len(data.validation), _FILES, _FILES_STOPPED)
    files = [data.validation[i] for i in chosen]
    labels = stack_labels(files)
    tensors = np.stack([data.validation_tensor(i) for i in chosen[:_TENSORS]])
    return Check(
        tensors,
        {OUTPUT: predict(tensors)},
        files,
        metric=lambda answers: float(metrics.correct(np.stack(answers), labels).mean()),
        logged=float(best.kept[chosen].mean()),
        framework=framework,
    )
