"""One training job of semantic-segmentation, from top to bottom."""

import json
from collections.abc import Mapping
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
from train.semantic_segmentation import data, evaluation, hyperparameters, loop, network
from train.semantic_segmentation.hyperparameters import Hyperparameters
from train.weights import native, pretrained

_TASK = "semantic-segmentation"
_OUTPUTS = ("logits",)
_TOLERANCE = 1e-4  # of logits, as a share of the largest
# Samples of the closing checks, whole photos that may take seconds each; after a stop request only what surely fits.
_TENSORS, _FILES, _FILES_STOPPED = 2, 24, 6


def run(base: Path, raw: Mapping[str, str], environ: Mapping[str, str]) -> None:
    """Train as `raw` hyperparameters and the channels under `base`/input say; leave the artifact in `base`/model.

    Raises UserError for the user's mistakes and TrainError for ours.
    """
    hp = hyperparameters.check(raw)
    hyperparameters.say(hp)
    found = channels.load(base / "input")
    weights = pretrained.wanted(hp, found, network.PRETRAINED[hp.backbone], environ)
    loaded = data.load(found, hp)
    net = network.build(hp.algorithm, hp.backbone, hp.num_classes, hp.seed)
    if weights is not None:
        report = pretrained.load_into(net, weights, network.PRETRAINED[hp.backbone])
        network.hasten_heads(net)
        LOG.info("Pretrained weights: %s", report)
    model = Model(base / "model", net, loaded, hp)
    try:
        loop.fit(net, loaded, hp, cluster.one_host(base), model.keep)
    except Diverged as error:
        raise UserError(f"{error}; {rescue(model.finish, base / 'model', model.best.epoch)}") from error
    model.keep_last()
    model.finish()


class Model:
    """The model folder: native weights under the built-in's file names as training goes on, the rest at its end."""

    def __init__(self, folder: Path, net: network.Segmenter, loaded: data.Data, hp: Hyperparameters) -> None:
        self._folder, self._net, self._data, self._hp = folder, net, loaded, hp
        self._params = folder / "model_best.params"
        self.best = loop.Best()
        earlier.set_aside(folder)

    def keep(self, best: loop.Best) -> None:
        """Write the weights of an epoch that is the best so far over those of the one before."""
        self._write(self._params)
        if self.best.epoch < 0:
            text = json.dumps(native.as_texts(self._hp.values()), indent=2)
            export.replace(self._folder / "hyperparams.json", lambda target: target.write_text(text))
        self.best = best

    def keep_last(self) -> None:
        """Write the weights as they are after the last epoch."""
        self._write(self._folder / "model_algo-1")

    def finish(self) -> None:
        """Export the best epoch, describe it, and prove that the server's code gives what training logged."""
        native.read_parameters(self._net, self._params)
        side = self._data.spec.height
        symbol = network.Answer(self._net, side, plain=True)(mx.sym.var("data"))
        path = self._folder / artifact.MODEL_ONNX
        export.to_onnx(symbol, native.parameters(self._net), "data", (3, side, side), path, _OUTPUTS)
        self._say_best()
        with export.writing(self._folder / artifact.MODEL_JSON):
            artifact.write(self._describe(), self._folder)
        self._verify()
        names = export.names(self._folder)
        LOG.info("The model of epoch %d is in %s: %s", self.best.epoch, self._folder, names)

    def _write(self, path: Path) -> None:
        export.replace(path, lambda target: native.write_parameters(self._net, target))
        LOG.info("Serializing model to %s", path)

    def _say_best(self) -> None:
        matrix, names = self.best.matrix, self._data.class_names
        each = ", ".join(f"{names[label]} {value:.4f}" for label, value in enumerate(evaluation.iou(matrix)))
        LOG.info(
            "The best epoch is %d: mIOU %.6f over %d classes, %.6f over the %d that occur, "
            "pixel accuracy %.6f; IOU: %s",
            *(self.best.epoch, evaluation.mean_iou(matrix), len(names)),
            *(evaluation.mean_iou_of_occurring(matrix), len(evaluation.occurring(matrix))),
            *(evaluation.pixel_accuracy(matrix), each),
        )

    def _describe(self) -> artifact.Artifact:
        return artifact.Artifact(
            task=_TASK,
            network=f"{self._hp.algorithm}_{network.PRETRAINED[self._hp.backbone]}",
            class_names=self._data.class_names,
            input=self._data.spec,
            output="logits",
            hyperparameters=self._hp.values(),
            metrics={
                "epoch": self.best.epoch,
                **self.best.metrics,
                "validation:mIOU_occurring": evaluation.mean_iou_of_occurring(self.best.matrix),
            },
            versions=native.versions(),
        )

    def _verify(self) -> None:
        LOG.info("Checking the artifact with the server's own code")
        count = len(self._data.validation)
        chosen = samples.spread(count, _FILES_STOPPED if stop.requested() else _FILES)
        answer = network.Answer(self._net, self._data.spec.height)
        answer.hybridize(static_alloc=True, static_shape=True)
        tensors = np.stack([self._data.whole_tensor(i) for i in chosen])
        logits = np.concatenate([answer(mx.nd.array(tensor[None])).asnumpy() for tensor in tensors])
        own = [loop.whole_mask(row, self._data, i) for row, i in zip(logits, chosen, strict=True)]
        expected = logits[:_TENSORS]
        export.verify(
            self._folder,
            tensors[:_TENSORS],
            dict(zip(_OUTPUTS, (expected,), strict=True)),
            [self._data.validation[i] for i in chosen],
            metric=lambda answers: self._mean_iou(answers, chosen),
            logged=self._mean_iou(own, chosen),
            tolerance=_TOLERANCE * max(1.0, float(np.abs(expected).max())),
        )

    def _mean_iou(self, found: list[NDArray[np.uint8]], chosen: NDArray[np.int64]) -> float:
        classes = self._hp.num_classes
        total = np.zeros((classes, classes), np.int64)
        for mask, index in zip(found, chosen, strict=True):
            total += evaluation.confusion(mask, self._data.mask(index), classes)
        return evaluation.mean_iou(total)
