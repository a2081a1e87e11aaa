"""Evaluate the network on the validation samples."""

from collections.abc import Callable

import mxnet as mx
import numpy as np
from mxnet import gluon
from numpy.typing import NDArray

from train.classification import predictions
from train.image_classification.data import Data
from train.image_classification.hyperparameters import Hyperparameters
from train.learner import Evaluated
from train.trainer import validation_batches


def evaluate(net: gluon.HybridBlock, data: Data, hp: Hyperparameters) -> Evaluated[NDArray[np.float64]]:
    """Evaluate the network on the validation samples of all hosts; each host predicts its part.

    Raises Stopped after a stop request, and FloatingPointError if a prediction is not finite.
    """
    count = len(data.validation)
    batches = validation_batches(data.validation_tensor, count, predictions.EVALUATION_BATCH)
    probabilities = np.concatenate([activation(hp)(net(mx.nd.array(batch))).asnumpy() for batch in batches])[:count]
    gathered = data.validation_distribution.gather_rows(probabilities)
    return predictions.evaluate(gathered, data.labels.validation, hp.top_k)


def activation(hp: Hyperparameters) -> Callable[[mx.nd.NDArray], mx.nd.NDArray]:
    """Return the function from logits to probabilities: softmax over the classes, or sigmoid per label."""
    return mx.nd.sigmoid if hp.multi_label else mx.nd.softmax
