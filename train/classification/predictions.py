"""Score a classifier's predictions on a training batch, on the validation samples and in the final checks."""

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
# Samples in the final checks. After a stop request there are only a few, because the job will soon be killed.
_TENSORS, _FILES, _FILES_STOPPED = 8, 2000, 64


class Validation(Protocol):
    """The validation data that the final checks need."""

    @property
    def validation(self) -> Sequence[Sample[Label]]:
        """The samples, all of them readable."""
        ...

    def validation_tensor(self, index: int) -> NDArray[np.float32]:
        """Return float32 (C, H, W): exactly what the server computes from the sample's bytes."""
        ...


def measure(loss: float, probabilities: NDArray[np.float32], labels: Labels, top_k: int | None) -> Measured:
    """Return the loss and metrics of a training batch with probabilities float32 (N, K)."""
    return Measured(loss, _metrics(probabilities, labels, top_k))


def evaluate(probabilities: NDArray[np.float32], labels: Labels, top_k: int | None) -> Evaluated[NDArray[np.float64]]:
    """Return the metrics of the validation samples, and keep the value of `correct` for each.

    Raises FloatingPointError if a probability is not finite.
    """
    if not np.isfinite(probabilities).all():
        raise FloatingPointError("the probabilities are not finite")
    by_name = _metrics(probabilities, labels, top_k)
    means = {name: float(values.mean()) for name, values in by_name.items()}
    return Evaluated(means["accuracy"], means, by_name["accuracy"])


def _metrics(probabilities: NDArray[np.float32], labels: Labels, top_k: int | None) -> dict[str, NDArray[np.float64]]:
    by_name = {"accuracy": metrics.correct(probabilities, labels)}
    if top_k and metrics.one_class_each(labels):
        by_name[f"top_k_accuracy_{top_k}"] = metrics.top_k_correct(probabilities, labels, top_k)
    return by_name


def check(
    data: Validation,
    best: Best[NDArray[np.float64]],
    predict: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    framework: str,
) -> Check:
    """Return the check that the artifact's predictions match the network's.

    `predict` runs the network in `framework`: float32 (N, C, H, W) to probabilities, float32 (N, K).
    """
    chosen = choose(len(data.validation), _FILES, _FILES_STOPPED)
    files = [data.validation[i] for i in chosen]
    labels = stack_labels(files)
    tensors = np.stack([data.validation_tensor(i) for i in chosen[:_TENSORS]])
    return Check(
        tensors,
        {OUTPUT: predict(tensors)},
        files,
        metric=lambda predicted: float(metrics.correct(np.stack(predicted), labels).mean()),
        logged=float(best.kept[chosen].mean()),
        framework=framework,
    )
