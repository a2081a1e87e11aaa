"""A training job of object-detection: network, data and model folder."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from serve import artifact
from train.gluon import devices, hosts, onnx
from train.gluon.model import GluonModel
from train.job.training import Algorithm, Job, Prepared
from train.learner import Best, Learner
from train.object_detection import data, evaluation, hyperparameters, layers, network
from train.object_detection.data import Data
from train.object_detection.hyperparameters import Hyperparameters
from train.object_detection.log_lines import DetectionLines, Detections
from train.object_detection.step import Step
from train.verify import Check, choose
from train.weights import native, pretrained

_OUTPUTS = ("scores", "boxes")
_TOLERANCE = 1e-3  # of scores, and of coordinates in fractions of the picture
# Samples in the final checks. After a stop request there are only a few, because the job will soon be killed.
_TENSORS, _FILES, _FILES_STOPPED = 4, 1000, 32


def prepare(job: Job[Hyperparameters]) -> Prepared:
    """Read the data and build the network. Raises UserError if the data or hyperparameters are invalid."""
    hp = job.hp
    name = network.PRETRAINED[hp.base_network]
    chosen = devices.choose(job.environ, hp.mini_batch_size)
    weights = pretrained.find_if_requested(hp, job.channels, name, job.environ)
    loaded = data.load(job.channels, hp, job.peers)
    net = network.build(hp.base_network, hp.num_classes, hp.image_shape, hp.seed)
    if weights is not None:
        pretrained.load_into(net.predictor.features, weights, name)
    layers.freeze(net, hp)
    chosen.place(net)
    batches = loaded.train_batches(hp, network.anchors(hp.base_network, hp.image_shape))
    lines = DetectionLines(job.peers.hosts.current, hp.epochs)
    step = Step(net, hp, hosts.connect(job.peers))
    learner = Learner(batches, step, lambda: evaluation.evaluate(net, loaded, hp), lines, devices=chosen.used)
    return learner, Model(net, loaded, hp)


ALGORITHM = Algorithm(hyperparameters.check, prepare)


class Model(GluonModel[Detections]):
    """The model folder, with the built-in's file names."""

    task, weights = artifact.DETECTION, "model_algo_1-0000.params"
    _data: Data
    _hp: Hyperparameters

    def __init__(self, net: network.Detector, loaded: Data, hp: Hyperparameters) -> None:
        super().__init__(net, loaded, hp, f"ssd_{hp.image_shape}_{network.PRETRAINED[hp.base_network]}", "boxes")

    def companions(self) -> Mapping[str, Callable[[Path], object]]:
        """Return the functions that write the symbol for MXNet's tools and the hyperparameters."""
        return {
            "model_algo_1-symbol.json": lambda path: self._deployable().save(str(path)),
            "hyperparams.json": self.write_hyperparameters,
        }

    def export(self, path: Path) -> None:
        """Write the network as an ONNX graph. The server does the non-maximum suppression."""
        side = self._hp.image_shape
        symbol = mx.sym.Group(list(self._net(mx.sym.var("data"))))
        onnx.export(symbol, native.parameters(self._net), "data", (3, side, side), path, _OUTPUTS)

    def measure(self, best: Best[Detections]) -> dict[str, float]:
        """Return the mAP as defined by VOC since 2010."""
        area = self._precision(best.kept, range(len(self._data.truths)), eleven_points=False)
        return {"validation:mAP_area": area}

    def describe(self, metrics: dict[str, float]) -> artifact.Artifact:
        """Return the contents of model.json."""
        nms = artifact.Nms(self._hp.nms_threshold, self._hp.nms_topk, evaluation.SCORE_FLOOR)
        return replace(super().describe(metrics), nms=nms)

    def check(self, best: Best[Detections]) -> Check:
        """Return the inputs and expected outputs of the final checks."""
        samples = self._data.validation
        chosen = choose(len(samples), _FILES, _FILES_STOPPED)
        if not any(len(samples[i].label) for i in chosen):
            chosen = np.arange(len(samples))
        tensors = np.stack([self._data.validation_tensor(i) for i in chosen[:_TENSORS]])
        return Check(
            tensors,
            dict(zip(_OUTPUTS, (value.asnumpy() for value in self._net(mx.nd.array(tensors))), strict=True)),
            [samples[i] for i in chosen],
            metric=lambda detected: self._precision(detected, chosen),
            logged=self._precision([best.kept[i] for i in chosen], chosen),
            tolerance=_TOLERANCE,
        )

    def _deployable(self) -> mx.sym.Symbol:
        """Return the network that MXNet's tools deploy: detections (N, A x K, 6), marked by -1 if suppressed."""
        scores, boxes = self._net(mx.sym.var("data"))
        classes = []
        for label in range(self._hp.num_classes):
            score = mx.sym.slice_axis(scores, axis=-1, begin=label, end=label + 1)
            classes.append(mx.sym.concat(mx.sym.ones_like(score) * label, score, boxes, dim=-1))
        return mx.sym.contrib.box_nms(
            mx.sym.concat(*classes, dim=1),
            overlap_thresh=self._hp.nms_threshold,
            valid_thresh=evaluation.SCORE_FLOOR,
            topk=self._hp.nms_topk,
            id_index=0,
            score_index=1,
            coord_start=2,
            name="detection",
        )

    def _precision(
        self, detected: list[NDArray[np.float32]], chosen: Iterable[int], eleven_points: bool = True
    ) -> float:
        truths = [self._data.truths[i] for i in chosen]
        side, overlap = self._hp.image_shape, self._hp.overlap_threshold
        return evaluation.mean_average_precision(detected, truths, side, overlap, eleven_points)
