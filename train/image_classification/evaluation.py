"""The evaluation of image-classification: probabilities of the validation samples."""

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
    """Answer the validation samples of all hosts, each its own.

    Raises Stopped, and FloatingPointError when an answer is not finite.
    """
    count = len(data.validation)
    batches = validation_batches(data.validation_tensor, count, predictions.EVALUATION_BATCH)
    found = [activation(hp)(net(mx.nd.array(batch))).asnumpy() for batch in batches]
    every = data.validation_distribution.gather_rows(np.concatenate(found)[:count])
    return predictions.evaluate(every, data.labels.validation, hp.top_k)


def activation(hp: Hyperparameters) -> Callable[[mx.nd.NDArray], mx.nd.NDArray]:
    """Return what makes probabilities of logits: a softmax over the classes, or a sigmoid for each label."""
    return mx.nd.sigmoid if hp.multi_label else mx.nd.softmax
