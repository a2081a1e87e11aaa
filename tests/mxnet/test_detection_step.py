"""Training steps of object-detection: optimizers, background loss, VGG's first kernels, and log lines about speed."""

import re
from collections.abc import Sequence
from types import SimpleNamespace

import mxnet as mx
import numpy as np
import pytest

from tests.mxnet.batches import Clock, Slow, lines_of_second_epoch
from tests.mxnet.detection import batch, hyperparameters
from train.gluon.hosts import Exchange
from train.object_detection import evaluation, layers, network
from train.object_detection.log_lines import DetectionLines
from train.object_detection.step import Step


@pytest.mark.parametrize(
    ("name", "learning_rate"), [("sgd", 0.001), ("adam", 0.001), ("rmsprop", 0.0003), ("adadelta", 1.0)]
)
def test_each_optimizer_lowers_the_loss_on_one_batch(name: str, learning_rate: float) -> None:
    hp = hyperparameters(optimizer=name, learning_rate=learning_rate)
    step = Step(network.build("resnet-18", 2, 64, 0), hp)
    same = batch(64, network.anchors("resnet-18", 64))
    losses = [step.read(same, step(*same)).loss for _ in range(10)]
    assert losses[-1] < 0.8 * losses[0]


def test_photos_without_boxes_are_trained_as_background() -> None:
    images, classes, boxes = batch(64, network.anchors("resnet-18", 64))
    step = Step(network.build("resnet-18", 2, 64, 0), hyperparameters())
    (cross_entropy,), _ = step(images[:2], np.stack([classes[0], 0 * classes[0]]), boxes[:2])
    with_box, without = cross_entropy.asnumpy()
    assert with_box > without > 0


def test_vggs_first_kernel_does_not_learn_faster_than_the_second() -> None:
    net = network.build("vgg-16", 2, 64, 0)
    named = {layers.public_name(name): value for name, value in net._collect_params_with_prefix().items()}
    kernels = [named["conv1_1_weight"], named["conv1_2_weight"]]
    before = [kernel.data().asnumpy() for kernel in kernels]
    step = Step(net, hyperparameters(base_network="vgg-16", learning_rate=0.0001))
    step(*batch(64, network.anchors("vgg-16", 64)))
    after = [kernel.data().asnumpy() for kernel in kernels]
    first, second = (np.abs(b - a).sum() / np.abs(a).sum() for a, b in zip(before, after, strict=True))
    assert 0 < first < 10 * second


def test_hosts_do_not_average_at_the_end_of_an_epoch_without_batchnorm() -> None:
    class OfTwo(Exchange):
        hosts = 2

        def average(self, arrays: Sequence[Sequence[mx.nd.NDArray]]) -> None:
            mx.nd.concat(*(copies[0].reshape(-1) for copies in arrays), dim=0)  # fails without arrays

    Step(network.build("vgg-16", 2, 64, 0), hyperparameters(base_network="vgg-16"), OfTwo()).end()


def speed_lines(monkeypatch: pytest.MonkeyPatch, count: int, seconds: float) -> list[str]:
    """Return the log lines of the second of four epochs of `count` batches that take `seconds` each."""
    return lines_of_second_epoch(Slow(Clock(monkeypatch), seconds), DetectionLines("algo-1", 4), count)


def test_speed_and_time_left_are_logged_every_hundred_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    pattern = (
        r"Epoch:    1, batches:    100, num_examples:    800, \d+\.\d samples/sec, "
        r"epoch time so far:  \d:\d\d:\d\d(\.\d+)?"
    )
    lines = speed_lines(monkeypatch, 201, 0.01)
    assert len(lines) == 4
    assert re.fullmatch(pattern, lines[0])
    assert re.fullmatch(r"time left: \d+:\d\d:\d\d", lines[1])


def test_speed_is_logged_at_least_every_twenty_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    line = "Epoch:    1, batches:      {}, num_examples:     {}, 0.5 samples/sec, epoch time so far:  {}"
    assert speed_lines(monkeypatch, 4, 15) == [
        line.format(2, 16, "0:00:30"),
        "time left: 0:00:50",
        line.format(4, 32, "0:01:00"),
        "time left: 0:01:00",
    ]


def test_predictions_that_are_not_finite_end_an_evaluation() -> None:
    net = network.build("resnet-18", 2, 64, 0)
    for parameter in net.collect_params().values():
        parameter.set_data(parameter.data() * np.nan)
    photos = SimpleNamespace(validation=[None], validation_tensor=lambda _: np.zeros((3, 64, 64), np.float32))
    with pytest.raises(FloatingPointError, match="the network's predictions are not finite"):
        evaluation.evaluate(net, photos, hyperparameters())
