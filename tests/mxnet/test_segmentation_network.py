"""The networks of semantic-segmentation: beside GluonCV's own, at several sides, exported, with a torchvision file."""

from collections.abc import Iterable
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest
from gluoncv.model_zoo import deeplabv3, fcn, pspnet, resnetv1b, segbase

from serve import artifact
from tests.mxnet import served
from tests.mxnet.networks import assert_resnet_18_is_loaded, enliven, pictures
from tests.mxnet.segmentation import batch, hyperparameters
from train.data.pixels import MEAN, STD
from train.gluon import onnx
from train.semantic_segmentation import network
from train.semantic_segmentation.step import Step
from train.weights import native


def assert_close(found: np.ndarray, wanted: np.ndarray) -> None:
    """Compare logits: they must differ by less than 1e-4 of the largest."""
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())


def in_order(names: Iterable[str]) -> list[str]:
    """Return names of parameters in the order in which the network computes.

    Heads have other names in GluonCV, but not another order.
    """
    names = list(names)
    base = [name for name in names if name.startswith(("conv1.", "bn1.", "layer"))]
    heads = [name for part in ("head", "auxlayer") for name in names if name.startswith(part)]
    return sorted(base) + heads


@pytest.mark.parametrize(
    ("algorithm", "theirs"), [("fcn", fcn.FCN), ("psp", pspnet.PSPNet), ("deeplab", deeplabv3.DeepLabV3)]
)
def test_the_networks_are_gluoncvs_own_given_their_weights(
    algorithm: str, theirs: type[segbase.SegBaseModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = resnetv1b.resnet50_v1b(pretrained=False, dilated=True)
    monkeypatch.setattr(segbase, "get_backbone", lambda name, **kwargs: backbone)
    side = 104
    other = theirs(3, backbone="resnet50", aux=True, pretrained_base=False, crop_size=side)
    other.initialize()
    x = mx.nd.array(pictures(side, 1))
    other(x)
    enliven(other)
    ours = network.build(algorithm, "resnet-50", 3, 0)
    mine, others = ours._collect_params_with_prefix(), other._collect_params_with_prefix()
    for name, value in zip(in_order(mine), in_order(others), strict=True):
        mine[name].set_data(others[value].data())
    assert len(in_order(mine)) == len(mine) == len(others)
    network.set_map(ours, side)
    for found, wanted in zip(ours(x), other(x), strict=True):  # of the main and the auxiliary head
        enlarged = mx.nd.contrib.BilinearResize2D(found, height=side, width=side)
        assert_close(enlarged.asnumpy(), wanted.asnumpy())


@pytest.mark.parametrize(
    ("algorithm", "backbone", "side"),
    [  # sides whose maps PSP's bins and a ResNet's later strides do not divide
        *(("fcn", "resnet-18", 104), ("psp", "resnet-18", 104), ("deeplab", "resnet-18", 72)),
        *(("psp", "resnet-50", 64), ("fcn", "resnet-101", 64)),
    ],
)
def test_each_network_exports_to_a_graph_that_gives_what_mxnet_gives(
    algorithm: str, backbone: str, side: int, tmp_path: Path
) -> None:
    net, tensors = network.build(algorithm, backbone, 3, 0), pictures(side, 2)
    enliven(net)
    logits = network.InferenceNet(net, side)(mx.nd.array(tensors)).asnumpy()
    symbol = network.InferenceNet(net, side, plain=True)(mx.sym.var("data"))
    onnx.export(symbol, native.parameters(net), "data", (3, side, side), tmp_path / artifact.MODEL_ONNX, ("logits",))
    spec = artifact.InputSpec("data", 3, side, side, side, "pad", MEAN, STD)
    artifact.write(artifact.Artifact("semantic-segmentation", algorithm, ("a", "b", "c"), spec, "logits"), tmp_path)
    assert_close(served.outputs(tmp_path, tensors)["logits"], logits)


@pytest.mark.parametrize("algorithm", ["fcn", "psp", "deeplab"])
def test_one_network_trains_at_one_side_and_answers_at_another(algorithm: str) -> None:
    net, x = network.build(algorithm, "resnet-18", 3, 0), mx.nd.array(pictures(104, 1))
    enliven(net)
    answer = network.InferenceNet(net, 104)
    answer.hybridize(static_alloc=True, static_shape=True)
    before = answer(x).asnumpy()
    states = {name: value.data().copy() for name, value in net.collect_params().items() if "running" in name}
    hp = hyperparameters(algorithm=algorithm, crop_size=64, learning_rate=1e-30, weight_decay=0, momentum=0)
    same = batch(64)
    step = Step(net, hp, 1)
    step.read(same, step(*same))
    for name, value in states.items():  # the step has moved BatchNorm's statistics
        net.collect_params()[name].set_data(value)
    assert_close(answer(x).asnumpy(), before)
    assert_close(network.InferenceNet(net, 104)(x).asnumpy(), before)


def test_fcn_on_resnet_18_adds_fine_maps_to_coarse_ones_of_any_side() -> None:
    """A cell moves itself and, by the convolution that follows, the next one; on the finer map each is two cells."""
    net = network.build("fcn", "resnet-18", 3, 0)
    enliven(net)
    stages = net.stages(mx.nd.array(pictures(104, 1)))
    assert [stage.shape[2] for stage in stages] == [52, 26, 13, 7, 4]
    logits = net.main(stages).asnumpy()
    assert logits.shape == (1, 3, 52, 52)
    rows = []  # of the logits that a change in the first cell of each map moves
    for index, stage in enumerate(stages):
        changed = stage.copy()
        changed[:, :, 0, 0] += 10
        others = net.main((*stages[:index], changed, *stages[index + 1 :])).asnumpy()
        rows.append(int(np.abs(others - logits).max(axis=(0, 1, 3)).nonzero()[0].max()) + 1)
    # Twice the rows of the next finer map and one more. The coarsest map is enlarged before any convolution.
    assert rows == [2, 5, 11, 23, 31]


def test_only_over_a_pretrained_backbone_the_heads_learn_ten_times_as_fast() -> None:
    net = network.build("fcn", "resnet-18", 3, 0)
    parameters = net._collect_params_with_prefix()
    heads = {name for name in parameters if name.startswith(("head", "auxlayer"))}
    assert {value.lr_mult for value in parameters.values()} == {1}
    network.speed_up_heads(net)
    assert {parameters[name].lr_mult for name in heads} == {10}
    assert {parameters[name].lr_mult for name in parameters.keys() - heads} == {1}


def test_base_weights_of_a_torchvision_file_fill_the_segmenter_and_its_own_layers_stay(tmp_path: Path) -> None:
    net = network.build("fcn", "resnet-18", 3, 0)
    assert_resnet_18_is_loaded(net, tmp_path, own_layers=("head.", "auxlayer."))
