"""The networks of semantic-segmentation, compared with GluonCV's, at several sizes, exported, and with weights."""

from collections.abc import Iterable
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest
from gluoncv.model_zoo import deeplabv3, fcn, pspnet, resnetv1b, segbase

from serve import artifact
from tests.mxnet import served
from tests.mxnet.networks import assert_resnet_18_is_loaded, pictures, randomize
from tests.mxnet.segmentation import batch, hyperparameters
from train.data.pixels import MEAN, STD
from train.gluon import onnx
from train.semantic_segmentation import network
from train.semantic_segmentation.step import Step
from train.weights import native


def assert_close(actual: np.ndarray, expected: np.ndarray) -> None:
    """Check that logits differ by less than 1e-4 of the largest."""
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def in_order(names: Iterable[str]) -> list[str]:
    """Sort the names of parameters in the order of computation.

    GluonCV uses other names for the heads, but the same order.
    """
    names = list(names)
    base = [name for name in names if name.startswith(("conv1.", "bn1.", "layer"))]
    heads = [name for part in ("head", "auxlayer") for name in names if name.startswith(part)]
    return sorted(base) + heads


@pytest.mark.parametrize(
    ("algorithm", "theirs"), [("fcn", fcn.FCN), ("psp", pspnet.PSPNet), ("deeplab", deeplabv3.DeepLabV3)]
)
def test_the_networks_match_gluoncvs_with_the_same_weights(
    algorithm: str, theirs: type[segbase.SegBaseModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = resnetv1b.resnet50_v1b(pretrained=False, dilated=True)
    monkeypatch.setattr(segbase, "get_backbone", lambda name, **kwargs: backbone)
    side = 104
    reference = theirs(3, backbone="resnet50", aux=True, pretrained_base=False, crop_size=side)
    reference.initialize()
    x = mx.nd.array(pictures(side, 1))
    reference(x)
    randomize(reference)
    ours = network.build(algorithm, "resnet-50", 3, 0)
    our_parameters, their_parameters = ours._collect_params_with_prefix(), reference._collect_params_with_prefix()
    for name, their_name in zip(in_order(our_parameters), in_order(their_parameters), strict=True):
        our_parameters[name].set_data(their_parameters[their_name].data())
    assert len(in_order(our_parameters)) == len(our_parameters) == len(their_parameters)
    network.set_map(ours, side)
    for output, expected in zip(ours(x), reference(x), strict=True):  # the main and the auxiliary head
        enlarged = mx.nd.contrib.BilinearResize2D(output, height=side, width=side)
        assert_close(enlarged.asnumpy(), expected.asnumpy())


@pytest.mark.parametrize(
    ("algorithm", "backbone", "side"),
    [  # sides with maps that PSP's bins and a ResNet's later strides do not divide
        *(("fcn", "resnet-18", 104), ("psp", "resnet-18", 104), ("deeplab", "resnet-18", 72)),
        *(("psp", "resnet-50", 64), ("fcn", "resnet-101", 64)),
    ],
)
def test_the_exported_graph_of_each_network_matches_mxnet(
    algorithm: str, backbone: str, side: int, tmp_path: Path
) -> None:
    net, tensors = network.build(algorithm, backbone, 3, 0), pictures(side, 2)
    randomize(net)
    logits = network.InferenceNet(net, side)(mx.nd.array(tensors)).asnumpy()
    symbol = network.InferenceNet(net, side, plain=True)(mx.sym.var("data"))
    onnx.export(symbol, native.parameters(net), "data", (3, side, side), tmp_path / artifact.MODEL_ONNX, ("logits",))
    spec = artifact.InputSpec("data", 3, side, side, side, "pad", MEAN, STD)
    artifact.write(artifact.Artifact("semantic-segmentation", algorithm, ("a", "b", "c"), spec, "logits"), tmp_path)
    assert_close(served.outputs(tmp_path, tensors)["logits"], logits)


@pytest.mark.parametrize("algorithm", ["fcn", "psp", "deeplab"])
def test_a_network_can_train_and_serve_at_different_sizes(algorithm: str) -> None:
    net, x = network.build(algorithm, "resnet-18", 3, 0), mx.nd.array(pictures(104, 1))
    randomize(net)
    inference = network.InferenceNet(net, 104)
    inference.hybridize(static_alloc=True, static_shape=True)
    before = inference(x).asnumpy()
    states = {name: value.data().copy() for name, value in net.collect_params().items() if "running" in name}
    hp = hyperparameters(algorithm=algorithm, crop_size=64, learning_rate=1e-30, weight_decay=0, momentum=0)
    same = batch(64)
    step = Step(net, hp, 1)
    step.read(same, step(*same))
    for name, value in states.items():  # the step has changed BatchNorm's statistics
        net.collect_params()[name].set_data(value)
    assert_close(inference(x).asnumpy(), before)
    assert_close(network.InferenceNet(net, 104)(x).asnumpy(), before)


def test_fcn_with_resnet_18_combines_maps_of_any_size() -> None:
    """A cell affects itself and, through a convolution, its neighbour. Each becomes two cells on the finer map."""
    net = network.build("fcn", "resnet-18", 3, 0)
    randomize(net)
    stages = net.stages(mx.nd.array(pictures(104, 1)))
    assert [stage.shape[2] for stage in stages] == [52, 26, 13, 7, 4]
    logits = net.main(stages).asnumpy()
    assert logits.shape == (1, 3, 52, 52)
    rows = []  # how many rows of logits change with the first cell of each map
    for index, stage in enumerate(stages):
        changed = stage.copy()
        changed[:, :, 0, 0] += 10
        new_logits = net.main((*stages[:index], changed, *stages[index + 1 :])).asnumpy()
        rows.append(int(np.abs(new_logits - logits).max(axis=(0, 1, 3)).nonzero()[0].max()) + 1)
    # Each has twice the rows of the next finer map plus one. The coarsest map is enlarged before any convolution.
    assert rows == [2, 5, 11, 23, 31]


def test_heads_can_learn_ten_times_as_fast_as_the_backbone() -> None:
    net = network.build("fcn", "resnet-18", 3, 0)
    parameters = net._collect_params_with_prefix()
    heads = {name for name in parameters if name.startswith(("head", "auxlayer"))}
    assert {value.lr_mult for value in parameters.values()} == {1}
    network.speed_up_heads(net)
    assert {parameters[name].lr_mult for name in heads} == {10}
    assert {parameters[name].lr_mult for name in parameters.keys() - heads} == {1}


def test_a_torchvision_file_sets_the_segmenters_base_weights_and_not_its_own_layers(tmp_path: Path) -> None:
    net = network.build("fcn", "resnet-18", 3, 0)
    assert_resnet_18_is_loaded(net, tmp_path, own_layers=("head.", "auxlayer."))
