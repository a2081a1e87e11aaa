"""The networks of image-classification, and the check that an artifact predicts like its network."""

import errno
import io
import logging
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import mxnet as mx
import numpy as np
import pytest
from PIL import Image

from serve.artifact import Artifact, InputSpec, write
from train.classification.predictions import OUTPUT
from train.data import recordio
from train.data.samples import Sample, records
from train.errors import TrainError, UserError
from train.gluon import onnx
from train.image_classification import hyperparameters, network
from train.verify import Check, verify


def drawn(side: int) -> np.ndarray:
    """Return two random inputs, float32 (2, 3, side, side)."""
    return np.random.default_rng(1).normal(size=(2, 3, side, side)).astype(np.float32)


def photo() -> bytes:
    """Return a JPEG of noise."""
    jpeg = io.BytesIO()
    Image.effect_noise((60, 50), 80).convert("RGB").save(jpeg, "JPEG")
    return jpeg.getvalue()


def samples(folder: Path, *photos: bytes) -> list[Sample]:
    """Return samples named dog/0.jpg and so on. The first is a file, the others are records of one file."""
    file, record = folder / "0.jpg", folder / "photos.rec"
    file.write_bytes(photos[0])
    with recordio.Writer(record) as writer:
        for number, content in enumerate(photos[1:], 1):
            writer.write(recordio.pack_image(0.0, number, content))
    return [Sample("dog/0.jpg", 0, file)] + [
        Sample(f"dog/{number}.jpg", 0, record, position.offset, position.length)
        for number, position in enumerate(records(record), 1)
    ]


class Exported(NamedTuple):
    """An artifact with random weights, two inputs, and the probabilities (2, 5) that MXNet computes for them."""

    folder: Path
    tensors: np.ndarray
    expected: np.ndarray

    def verify(self, files: list[Sample], *, outputs: np.ndarray | None = None, logged: float) -> None:
        """Check the artifact as a job does. The metric is the sum of all probabilities, so it is 1 for each file."""
        expected = {OUTPUT: self.expected if outputs is None else outputs}
        check = Check(self.tensors, expected, files, lambda predictions: float(sum(predictions).sum()), logged)
        verify(self.folder, check)


def exported(folder: Path, layers: int) -> Exported:
    """Export a network with random weights to `folder`."""
    net = network.build(layers, 5, 3, 0)
    for name, parameter in net.collect_params().items():
        if name.endswith("gamma"):  # initially blocks are the identity, which would leave half of the graph untested
            parameter.set_data(mx.nd.random.uniform(0.5, 1.5, parameter.shape))
    tensors = drawn(48)
    expected = mx.nd.softmax(net(mx.nd.array(tensors))).asnumpy()
    symbol = mx.sym.softmax(net(mx.sym.var("data")), name=OUTPUT)
    parameters = {f"arg:{name}": value.data() for name, value in net.collect_params().items()}
    onnx.export(symbol, parameters, "data", (3, 48, 48), folder / "model.onnx", (OUTPUT,))
    spec = InputSpec("data", 3, 48, 48, 48, "crop", (0.5,) * 3, (0.5,) * 3)
    write(Artifact("image-classification", network.name(layers), tuple("abcde"), spec, "softmax"), folder)
    return Exported(folder, tensors, expected)


@pytest.fixture(scope="module")
def cifar20(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A read-only artifact of the smallest network."""
    return exported(tmp_path_factory.mktemp("cifar20"), 20)


@pytest.mark.parametrize("layers", [18, 34, 50, 101, 152, 200, 20, 32, 44, 56, 110])
def test_networks_of_every_depth_in_both_families_classify(layers: int) -> None:
    assert network.build(layers, 5, 3, 0)(mx.nd.array(drawn(64))).shape == (2, 5)


def test_num_layers_accepts_the_depths_that_are_tested_here() -> None:
    assert set(hyperparameters.NUM_LAYERS) == {18, 34, 50, 101, 152, 200, 20, 32, 44, 56, 110}


@pytest.mark.parametrize("layers", [18, 50, 110])
def test_the_exported_graph_agrees_with_mxnet_for_random_weights(layers: int, tmp_path: Path) -> None:
    exported(tmp_path, layers).verify(samples(tmp_path, photo(), photo()), logged=2.0)


def test_temporary_names_from_mxnets_exporter_are_not_logged_but_its_warnings_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def export_model(symbol: Any, parameters: Any, shapes: Any, dtype: Any, path: str, **how: Any) -> None:
        logging.info("Exported ONNX file %s saved to disk", path)
        logging.warning("an operator was left out")
        raise OSError(errno.EFBIG, "File too large")

    monkeypatch.setattr(mx.onnx, "export_model", export_model)
    with caplog.at_level(logging.INFO):
        with pytest.raises(OSError, match="File too large"):
            onnx.export(None, {}, "data", (3, 8, 8), tmp_path / "model.onnx", (OUTPUT,))
        logging.info("a later message")
    assert caplog.messages == ["an operator was left out", "a later message"]


def test_an_artifact_that_differs_from_the_trained_network_is_rejected(cifar20: Exported, tmp_path: Path) -> None:
    with pytest.raises(TrainError, match=r"^model\.onnx differs from the trained network by"):
        cifar20.verify(samples(tmp_path, photo()), outputs=cifar20.expected + 0.001, logged=1.0)


def test_an_artifact_whose_metric_differs_from_the_logged_one_is_rejected(cifar20: Exported, tmp_path: Path) -> None:
    message = r"^the serving code reaches 1\.0000 on 1 validation file but training logged 0\.5"
    with pytest.raises(TrainError, match=message):
        cifar20.verify(samples(tmp_path, photo()), logged=0.5)


def test_a_photo_that_the_server_cannot_read_is_named_as_in_the_channel(cifar20: Exported, tmp_path: Path) -> None:
    message = (
        r"^the serving code cannot read a validation image: dog/2\.jpg: the image is truncated \(400 bytes arrived\)"
    )
    with pytest.raises(TrainError, match=message):
        cifar20.verify(samples(tmp_path, photo(), photo(), photo()[:400]), logged=3.0)


def test_a_missing_photo_is_named_before_the_check(cifar20: Exported, tmp_path: Path) -> None:
    files = samples(tmp_path, photo())
    files[0].path.unlink()
    with pytest.raises(UserError, match=r"^validation image dog/0\.jpg does not exist, although"):
        cifar20.verify(files, logged=1.0)


def test_a_damaged_graph_fails_the_check(cifar20: Exported, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(cifar20.folder, folder)
    graph = folder / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:1000])
    with pytest.raises(TrainError, match=r"^the check of the artifact failed with exit code 1: serve\.engine\.check: "):
        cifar20._replace(folder=folder).verify(samples(tmp_path, photo()), logged=1.0)
