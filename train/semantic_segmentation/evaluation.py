"""Evaluate the network on the validation photos."""

import mxnet as mx
import numpy as np
from mxnet import gluon
from numpy.typing import NDArray

from serve.tasks import masks
from train.learner import Evaluated
from train.semantic_segmentation import metrics
from train.semantic_segmentation.data import Data
from train.semantic_segmentation.enlarge import enlarge
from train.semantic_segmentation.hyperparameters import Hyperparameters
from train.semantic_segmentation.metrics import Matrix
from train.semantic_segmentation.network import InferenceNet, Segmenter
from train.trainer import validation_batches


class Evaluation:
    """Scores a network on centre crops of the validation photos, or whole photos if validation_mini_batch_size is 1."""

    def __init__(self, net: Segmenter, data: Data, hp: Hyperparameters) -> None:
        self._data, self._hp = data, hp
        self._whole = hp.validation_mini_batch_size == 1
        self._inference = InferenceNet(net, data.spec.height if self._whole else hp.crop_size)
        self._inference.hybridize(static_alloc=True, static_shape=True)

    def __call__(self) -> Evaluated[Matrix]:
        """Return the confusion matrix over the photos of all hosts, and the metrics computed from it.

        Raises Stopped after a stop request, and FloatingPointError if a prediction is not finite.
        """
        matrix = np.sum(self._data.validation_distribution.gather([self._confusion()]), axis=0)
        value = metrics.mean_iou(matrix)
        return Evaluated(value, {"mIOU": value, "pixel_accuracy": metrics.pixel_accuracy(matrix)}, matrix)

    def _confusion(self) -> Matrix:
        count, classes = len(self._data.validation), self._hp.num_classes
        tensor = self._data.whole_tensor if self._whole else self._data.crop_tensor
        total, done = np.zeros((classes, classes), np.int64), 0
        for batch in validation_batches(tensor, count, self._hp.validation_mini_batch_size):
            for predicted in self._predicted(finite(self._inference, batch), done)[: count - done]:
                truth = self._data.mask(done) if self._whole else self._data.crop_mask(done)
                total += metrics.confusion(predicted, truth, classes)
                done += 1
        return total

    def _predicted(self, logits: mx.nd.NDArray, first: int) -> list[NDArray[np.uint8]]:
        """Return the masks of a batch that begins at photo `first`, in the size of the photos or of the crop."""
        if self._whole:
            return [whole_mask(row, self._data, first + index) for index, row in enumerate(logits.asnumpy())]
        enlarged = enlarge(mx.nd, logits, self._hp.crop_size, align_corners=False)
        return list(enlarged.argmax(axis=1).asnumpy().astype(np.uint8))


def finite(net: gluon.Block, batch: NDArray[np.float32]) -> mx.nd.NDArray:
    """Return the logits of a batch. Raises FloatingPointError if they are not finite."""
    logits = net(mx.nd.array(batch))
    if not np.isfinite(logits.asnumpy()).all():
        raise FloatingPointError("the network's predictions are not finite")
    return logits


def whole_mask(logits: NDArray[np.float32], data: Data, index: int) -> NDArray[np.uint8]:
    """Convert logits (K, h, w) of a whole validation photo to class ids, uint8 (H, W)."""
    height, width = data.mask(index).shape
    return masks.class_ids(logits, (width, height), data.spec)
