"""A training job of semantic-segmentation: network, data and model folder."""

from collections.abc import Callable, Mapping
from pathlib import Path

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from serve import artifact
from train.gluon import devices, hosts, onnx, precision
from train.gluon.model import GluonModel
from train.job.training import Algorithm, Job, Prepared
from train.learner import Best, Learner
from train.semantic_segmentation import data, hyperparameters, metrics, network
from train.semantic_segmentation.data import Data
from train.semantic_segmentation.evaluation import Evaluation, whole_mask
from train.semantic_segmentation.hyperparameters import Hyperparameters
from train.semantic_segmentation.log_lines import SegmentationLines
from train.semantic_segmentation.metrics import Matrix
from train.semantic_segmentation.step import Step
from train.verify import Check, choose
from train.weights import native, pretrained

_OUTPUT = "logits"
_TOLERANCE = 1e-4  # of logits, as a fraction of the largest
# Samples in the final checks: whole photos, which may take seconds each. After a stop request there are only a few,
# because the job will soon be killed.
_TENSORS, _FILES, _FILES_STOPPED = 2, 24, 6


def prepare(job: Job[Hyperparameters]) -> Prepared:
    """Read the data and build the network. Raises UserError if the data or hyperparameters are invalid."""
    hp = job.hp
    name = network.PRETRAINED[hp.backbone]
    chosen = devices.choose(job.environ, hp.mini_batch_size)
    half = precision.is_half(hp.precision_dtype, chosen)
    weights = pretrained.find_if_requested(hp, job.channels, name, job.environ)
    loaded = data.load(job.channels, hp, job.peers)
    net = network.build(hp.algorithm, hp.backbone, hp.num_classes, hp.seed)
    if weights is not None:
        pretrained.load_into(net, weights, name)
        network.speed_up_heads(net)
    chosen.place(net)
    batches = loaded.train_batches(hp)
    lines = SegmentationLines(job.peers.hosts.current, hp.epochs, len(loaded.validation), loaded.class_names)
    step = Step(net, hp, len(batches), half, hosts.connect(job.peers))
    learner = Learner(batches, step, Evaluation(net, loaded, hp), lines, devices=chosen.used)
    return learner, Model(net, loaded, hp)


ALGORITHM = Algorithm(hyperparameters.check, prepare)


class Model(GluonModel[Matrix]):
    """The model folder, with the built-in's file names."""

    task, weights = artifact.SEGMENTATION, "model_best.params"
    last = "model_algo-1"
    _data: Data
    _hp: Hyperparameters

    def __init__(self, net: network.Segmenter, loaded: Data, hp: Hyperparameters) -> None:
        super().__init__(net, loaded, hp, f"{hp.algorithm}_{network.PRETRAINED[hp.backbone]}", _OUTPUT)

    def companions(self) -> Mapping[str, Callable[[Path], object]]:
        """Return the function that writes the hyperparameters."""
        return {"hyperparams.json": self.write_hyperparameters}

    def export(self, path: Path) -> None:
        """Write the network as an ONNX graph. The server enlarges the logits."""
        side = self._data.spec.height
        symbol = network.InferenceNet(self._net, side, plain=True)(mx.sym.var("data"))
        onnx.export(symbol, native.parameters(self._net), "data", (3, side, side), path, (_OUTPUT,))

    def measure(self, best: Best[Matrix]) -> dict[str, float]:
        """Return the mIOU over the classes that occur in the masks."""
        return {"validation:mIOU_occurring": metrics.mean_iou_of_occurring(best.kept)}

    def check(self, best: Best[Matrix]) -> Check:
        """Return the inputs and expected outputs of the final checks."""
        chosen = choose(len(self._data.validation), _FILES, _FILES_STOPPED)
        net = network.InferenceNet(self._net, self._data.spec.height)
        net.hybridize(static_alloc=True, static_shape=True)
        tensors = np.stack([self._data.whole_tensor(i) for i in chosen])
        logits = np.concatenate([net(mx.nd.array(tensor[None])).asnumpy() for tensor in tensors])
        predicted = [whole_mask(row, self._data, i) for row, i in zip(logits, chosen, strict=True)]
        expected = logits[:_TENSORS]
        return Check(
            tensors[:_TENSORS],
            {_OUTPUT: expected},
            [self._data.validation[i] for i in chosen],
            metric=lambda masks: self._mean_iou(masks, chosen),
            logged=self._mean_iou(predicted, chosen),
            tolerance=_TOLERANCE * max(1.0, float(np.abs(expected).max())),
        )

    def _mean_iou(self, predicted: list[NDArray[np.uint8]], chosen: NDArray[np.int64]) -> float:
        classes = self._hp.num_classes
        total = np.zeros((classes, classes), np.int64)
        for mask, index in zip(predicted, chosen, strict=True):
            total += metrics.confusion(mask, self._data.mask(index), classes)
        return metrics.mean_iou(total)
