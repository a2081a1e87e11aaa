"""Mixed precision: operators that AMP lowers, and loss scaling. The CPU supports bfloat16 and not float16."""

import json

import mxnet as mx
import numpy as np
import pytest
from mxnet import gluon

from tests import jobs
from tests.mxnet import segmentation
from tests.mxnet.batches import log_lines
from tests.mxnet.networks import pictures
from train.gluon import precision
from train.gluon.devices import Devices
from train.image_classification import hyperparameters as classifiers
from train.image_classification import network as classifier
from train.image_classification import step as classification
from train.job.devices import Device
from train.semantic_segmentation import network as segmenter
from train.semantic_segmentation.step import Step as SegmentationStep

LABELS = np.array([0, 1, 2, 1])


@pytest.fixture
def bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use bfloat16, the half precision that the CPU supports."""
    monkeypatch.setattr(precision, "HALF", "bfloat16")


def networks() -> dict[str, gluon.HybridBlock]:
    """Return all kinds of networks that support precision_dtype."""
    by_name = {"resnet": classifier.build(18, 3, 3, 0), "cifar": classifier.build(20, 3, 3, 0)}
    for algorithm, backbone in (("fcn", "resnet-18"), ("psp", "resnet-50"), ("deeplab", "resnet-50")):
        by_name[algorithm] = segmenter.build(algorithm, backbone, 3, 0)
        segmenter.set_map(by_name[algorithm], 64)
    return by_name


def test_all_convolutions_of_every_network_use_float16_inputs() -> None:
    for name, net in networks().items():
        block = precision.to_float16(net)
        assert {id(parameter) for parameter in block.collect_params().values()} <= {
            id(parameter) for parameter in net.collect_params().values()
        }
        nodes = json.loads(block._cached_graph[1].tojson(remove_amp_cast=False))["nodes"]
        lowered = {index for index, node in enumerate(nodes) if node.get("attrs", {}).get("dtype") == "float16"}
        convolutions = [node for node in nodes if node["op"] in ("Convolution", "FullyConnected")]
        assert len(convolutions) > 20, name
        for node in convolutions:
            # An input is cast to float16, or is the result of an operator that computes in float16.
            assert all(place in lowered or nodes[place]["op"] != "null" for place, *_ in node["inputs"]), name


def classify(half: bool) -> tuple[gluon.HybridBlock, classification.Step]:
    """Return a classifier and its training step."""
    values = {"num_classes": 3, "num_training_samples": 4, "resize": 224, "learning_rate": 0.01, "momentum": 0}
    hp = classifiers.check(jobs.texts(values))
    net = classifier.build(20, 3, 3, 0)
    return net, classification.Step(net, classification.loss_function(hp, LABELS), hp, half)


def classifier_losses(half: bool) -> list[float]:
    batch = pictures(32, 4), LABELS
    _, step = classify(half)
    return [step.read(batch, step(*batch)).loss for _ in range(4)]


def segmenter_losses(half: bool) -> list[float]:
    hp = segmentation.hyperparameters(crop_size=64, optimizer="sgd", learning_rate=0.02, epochs=100)
    batch, step = segmentation.batch(64), SegmentationStep(segmenter.build("fcn", "resnet-18", 3, 0), hp, 25, half)
    return [step.read(batch, step(*batch)).loss for _ in range(4)]


@pytest.mark.usefixtures("bfloat16")
@pytest.mark.parametrize("losses", [classifier_losses, segmenter_losses])
def test_losses_in_half_precision_follow_those_in_float32(losses: object) -> None:
    assert callable(losses)
    exact, rough = losses(False), losses(True)
    assert exact[-1] < 0.97 * exact[0]
    assert exact != rough
    np.testing.assert_allclose(rough, exact, rtol=0.05)


@pytest.mark.usefixtures("bfloat16")
def test_an_update_with_overflowing_gradients_is_skipped_and_the_loss_scale_is_halved() -> None:
    net, step = classify(half=True)
    scaler = step._trainer._amp_loss_scaler
    scaler._loss_scale = scaler._next_loss_scale = 2.0**128  # more than float32 holds
    weight = net.output.weight.data().asnumpy()
    step(pictures(32, 4), LABELS)
    assert np.array_equal(net.output.weight.data().asnumpy(), weight)
    assert scaler._next_loss_scale == 2.0**127
    scaler._loss_scale = scaler._next_loss_scale = 2.0**16
    step(pictures(32, 4), LABELS)
    assert not np.array_equal(net.output.weight.data().asnumpy(), weight)


@pytest.mark.usefixtures("bfloat16")
def test_the_original_network_stays_float32() -> None:
    net, step = classify(half=True)
    step(pictures(32, 4), LABELS)
    mx.nd.waitall()
    assert {parameter.data().dtype for parameter in net.collect_params().values()} == {np.float32}
    assert "amp_cast" not in net(mx.sym.var("data")).tojson(remove_amp_cast=False)


def test_float16_is_used_only_on_gpus_and_logged() -> None:
    cpu = Devices([Device("cpu", 0)], 8)
    gpu = Devices([Device("gpu", 0)], 8)
    with log_lines() as lines:
        assert [precision.is_half("float32", devices) for devices in (cpu, gpu)] == [False, False]
        assert [precision.is_half("float16", devices) for devices in (cpu, gpu)] == [False, True]
    assert lines == [
        "precision_dtype=float16 is ignored: the CPU does not support float16, so float32 is used",
        "precision_dtype=float16: mixed precision, with a scaled loss",
    ]
