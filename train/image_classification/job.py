"""One training job of image-classification, from top to bottom."""

import json
from collections.abc import Mapping
from pathlib import Path

import mxnet as mx
import numpy as np
from mxnet import gluon
from numpy.typing import NDArray

from serve import artifact
from train import classifier, export
from train.classifier import Best
from train.data import channels
from train.divergence import Diverged, rescue
from train.errors import UserError
from train.image_classification import data, hyperparameters, loop, network
from train.image_classification.hyperparameters import Hyperparameters
from train.job import earlier
from train.log import LOG
from train.weights import native, pretrained

_PREFIX = "image-classification"


def run(base: Path, raw: Mapping[str, str], environ: Mapping[str, str]) -> None:
    """Train as `raw` hyperparameters and the channels under `base`/input say; leave the artifact in `base`/model.

    Raises UserError for the user's mistakes and TrainError for ours.
    """
    hp = hyperparameters.check(raw)
    hyperparameters.say(hp)
    found = channels.load(base / "input")
    weights = pretrained.wanted(hp, found, network.name(hp.num_layers), environ)
    loaded = data.load(found, hp)
    net = network.build(hp.num_layers, hp.num_classes, hp.image_shape[0], hp.seed)
    if weights is not None:
        report = pretrained.load_into(net, weights, network.name(hp.num_layers))
        LOG.info("Pretrained weights: %s", report)
    model, best = Model(base / "model", net, loaded, hp), Best()
    try:
        loop.fit(net, loaded, hp, best, model.save)
    except Diverged as error:
        raise UserError(f"{error}; {rescue(lambda: model.finish(best), base / 'model', best.epoch)}") from error
    model.finish(best)


class Model:
    """The model folder: native weights under the built-in's file names as training goes on, the rest at its end."""

    def __init__(self, folder: Path, net: gluon.HybridBlock, loaded: data.Data, hp: Hyperparameters) -> None:
        self._folder, self._net, self._data, self._hp = folder, net, loaded, hp
        self._kept: Path | None = None
        earlier.set_aside(folder)

    def save(self, epoch: int, best: bool) -> None:
        """Write the weights of `epoch`, from 0; an earlier best is removed unless checkpoint_frequency keeps it."""
        path = self._params(epoch)
        export.replace(path, lambda target: native.write_parameters(self._net, target))
        LOG.info('Saved checkpoint to "%s"', path)
        if not best:
            return
        if self._kept is None:
            symbol, shapes = (
                self._symbol("softmax", native=True),
                [{"name": "data", "shape": [1, *self._hp.image_shape]}],
            )
            export.replace(self._folder / f"{_PREFIX}-symbol.json", lambda target: symbol.save(str(target)))
            export.replace(self._folder / "model-shapes.json", lambda target: target.write_text(json.dumps(shapes)))
        elif not self._is_checkpoint(self._kept):
            self._kept.unlink()
        self._kept = path

    def finish(self, best: Best) -> None:
        """Export the best epoch, describe it, and prove that the server's code gives what training logged."""
        native.read_parameters(self._net, self._params(best.epoch))
        shape = self._hp.image_shape
        export.to_onnx(
            self._symbol(export.OUTPUT, native=False),
            native.parameters(self._net),
            "data",
            shape,
            self._folder / artifact.MODEL_ONNX,
        )
        with export.writing(self._folder / artifact.MODEL_JSON):
            artifact.write(self._describe(best), self._folder)
        classifier.verify(self._folder, self._data, best, self._predict, "MXNet")
        LOG.info(
            "The model of epoch %d is in %s: %s (epochs count from 0, files from 1)",
            best.epoch,
            self._folder,
            export.names(self._folder),
        )

    def _predict(self, tensors: NDArray[np.float32]) -> NDArray[np.float32]:
        return loop.activation(self._hp)(self._net(mx.nd.array(tensors))).asnumpy()

    def _params(self, epoch: int) -> Path:
        return self._folder / f"{_PREFIX}-{epoch + 1:04d}.params"

    def _is_checkpoint(self, path: Path) -> bool:
        every = self._hp.checkpoint_frequency
        return every is not None and int(path.stem.rsplit("-", 1)[1]) % every == 0

    def _symbol(self, name: str, native: bool) -> mx.sym.Symbol:
        """Return the network with its activation: as one of MXNet's output layers, like the built-in's, or plain."""
        logits = self._net(mx.sym.var("data"))
        if self._hp.multi_label:
            return mx.sym.LogisticRegressionOutput(logits, name=name) if native else mx.sym.sigmoid(logits, name=name)
        return mx.sym.SoftmaxOutput(logits, name=name) if native else mx.sym.softmax(logits, name=name)

    def _describe(self, best: Best) -> artifact.Artifact:
        return artifact.Artifact(
            task=_PREFIX,
            network=network.name(self._hp.num_layers),
            class_names=self._data.class_names,
            input=self._data.spec,
            output="sigmoid" if self._hp.multi_label else "softmax",
            hyperparameters=self._hp.values(),
            metrics={"epoch": best.epoch, **best.metrics},
            versions=native.versions(),
        )
