"""One training job of object-detection, from top to bottom."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from serve import artifact
from train import export
from train.data import channels, samples
from train.divergence import Diverged, rescue
from train.errors import UserError
from train.job import cluster, earlier, stop
from train.log import LOG
from train.object_detection import data, evaluation, hyperparameters, layers, loop, network
from train.object_detection.hyperparameters import Hyperparameters
from train.weights import native, pretrained

_TASK = "object-detection"
_OUTPUTS = ("scores", "boxes")
_TOLERANCE = 1e-3  # of scores and of coordinates as shares of the picture
# Samples of the closing checks; after a stop request only as many as the remaining seconds surely allow.
_TENSORS, _FILES, _FILES_STOPPED = 4, 1000, 32


def run(base: Path, raw: Mapping[str, str], environ: Mapping[str, str]) -> None:
    """Train as `raw` hyperparameters and the channels under `base`/input say; leave the artifact in `base`/model.

    Raises UserError for the user's mistakes and TrainError for ours.
    """
    hp = hyperparameters.check(raw)
    hyperparameters.say(hp)
    found = channels.load(base / "input")
    weights = pretrained.wanted(hp, found, network.PRETRAINED[hp.base_network], environ)
    loaded = data.load(found, hp)
    net = network.build(hp.base_network, hp.num_classes, hp.image_shape, hp.seed)
    if weights is not None:
        report = pretrained.load_into(net.predictor.features, weights, network.PRETRAINED[hp.base_network])
        LOG.info("Pretrained weights: %s", report)
    layers.freeze(net, hp)
    model = Model(base / "model", net, loaded, hp)
    anchors = network.anchors(hp.base_network, hp.image_shape)
    try:
        loop.fit(net, loaded, hp, cluster.one_host(base), anchors, model.keep)
    except Diverged as error:
        raise UserError(f"{error}; {rescue(model.finish, base / 'model', model.best.epoch)}") from error
    model.finish()
    LOG.info("Test data is not provided.")


class Model:
    """The model folder: native weights under the built-in's file names as training goes on, the rest at its end."""

    def __init__(self, folder: Path, net: network.Detector, loaded: data.Data, hp: Hyperparameters) -> None:
        self._folder, self._net, self._data, self._hp = folder, net, loaded, hp
        self._params = folder / "model_algo_1-0000.params"
        self.best = loop.Best()
        earlier.set_aside(folder)

    def keep(self, best: loop.Best) -> None:
        """Write the weights of an epoch that is the best so far over those of the one before."""
        export.replace(self._params, lambda target: native.write_parameters(self._net, target))
        if self.best.epoch < 0:
            symbol, text = self._deployable(), json.dumps(native.as_texts(self._hp.values()), indent=2)
            export.replace(self._folder / "model_algo_1-symbol.json", lambda target: symbol.save(str(target)))
            export.replace(self._folder / "hyperparams.json", lambda target: target.write_text(text))
        LOG.info('Saved checkpoint to "%s"', self._params)
        self.best = best

    def finish(self) -> None:
        """Export the best epoch, describe it, and prove that the server's code gives what training logged."""
        native.read_parameters(self._net, self._params)
        side = self._hp.image_shape
        symbol = mx.sym.Group(list(self._net(mx.sym.var("data"))))
        path = self._folder / artifact.MODEL_ONNX
        export.to_onnx(symbol, native.parameters(self._net), "data", (3, side, side), path, _OUTPUTS)
        area = self._precision(self.best.detections, range(len(self._data.validation)), eleven_points=False)
        LOG.info("The best epoch is %d: mAP %.6f (VOC 2007), %.6f (area)", self.best.epoch, self.best.value, area)
        with export.writing(self._folder / artifact.MODEL_JSON):
            artifact.write(self._describe({**self.best.metrics, "validation:mAP_area": area}), self._folder)
        self._verify()
        names = export.names(self._folder)
        LOG.info("The model of epoch %d is in %s: %s", self.best.epoch, self._folder, names)

    def _deployable(self) -> mx.sym.Symbol:
        """Return the network as MXNet's tools deploy it: detections (N, A x K, 6), suppressed ones marked by -1."""
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

    def _describe(self, metrics: dict[str, float]) -> artifact.Artifact:
        return artifact.Artifact(
            task=_TASK,
            network=f"ssd_{self._hp.image_shape}_{network.PRETRAINED[self._hp.base_network]}",
            class_names=self._data.class_names,
            input=self._data.spec,
            output="boxes",
            hyperparameters=self._hp.values(),
            metrics={"epoch": self.best.epoch, **metrics},
            versions=native.versions(),
            nms=artifact.Nms(self._hp.nms_threshold, self._hp.nms_topk, evaluation.SCORE_FLOOR),
        )

    def _precision(self, found: list[NDArray[np.float32]], chosen: Iterable[int], eleven_points: bool = True) -> float:
        truths = [self._data.validation[i].label for i in chosen]
        side, overlap = self._hp.image_shape, self._hp.overlap_threshold
        return evaluation.mean_average_precision(found, truths, side, overlap, eleven_points)

    def _verify(self) -> None:
        LOG.info("Checking the artifact with the server's own code")
        count = len(self._data.validation)
        chosen = samples.spread(count, _FILES_STOPPED if stop.requested() else _FILES)
        if not any(len(self._data.validation[i].label) for i in chosen):
            chosen = np.arange(count)
        tensors = np.stack([self._data.validation_tensor(i) for i in chosen[:_TENSORS]])
        expected = dict(zip(_OUTPUTS, (value.asnumpy() for value in self._net(mx.nd.array(tensors))), strict=True))
        export.verify(
            self._folder,
            tensors,
            expected,
            [self._data.validation[i] for i in chosen],
            metric=lambda answers: self._precision(answers, chosen),
            logged=self._precision([self.best.detections[i] for i in chosen], chosen),
            tolerance=_TOLERANCE,
        )
