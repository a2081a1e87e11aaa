"""Public layer names of the detectors, and freezing layers with `freeze_layer_pattern`."""

import pytest
from mxnet import gluon

from tests.mxnet.detection import batch, hyperparameters
from train.errors import UserError
from train.object_detection import layers, network
from train.object_detection.step import Step


def parameters(net: gluon.Block) -> dict[str, gluon.Parameter]:
    """Return the parameters of a network by their public names."""
    return {layers.public_name(name): value for name, value in net._collect_params_with_prefix().items()}


@pytest.mark.parametrize(
    ("base_network", "names"),
    [
        ("vgg-16", {"conv1_1_weight", "conv5_3_bias", "fc6_weight", "fc7_weight", "relu4_3_scale"}),
        ("resnet-50", {"conv0_weight", "bn0_gamma", "stage1_unit1_sc_weight", "stage4_unit3_conv3_weight"}),
        ("resnet-18", {"stage1_unit1_conv1_weight", "stage2_unit1_sc_bn_gamma", "extra4_conv2_weight"}),
    ],
)
def test_layers_have_unique_names_that_match_the_public_symbol_files(base_network: str, names: set[str]) -> None:
    net = network.Detector(base_network, 2, 300)
    assert names <= parameters(net).keys()
    assert len(parameters(net)) == len(net._collect_params_with_prefix())


def test_frozen_layers_do_not_change_and_the_others_do() -> None:
    hp = hyperparameters(freeze_layer_pattern="^(conv0|stage1_unit1_conv1)_")
    net = network.build("resnet-18", 2, 64, 0)
    layers.freeze(net, hp)
    before = {name: value.data().asnumpy() for name, value in parameters(net).items()}
    step = Step(net, hp)
    for _ in range(2):  # the first step does not change a block's first kernels, because its last scale is still zero
        step(*batch(64, network.anchors("resnet-18", 64)))
    changed = {name for name, value in parameters(net).items() if (value.data().asnumpy() != before[name]).any()}
    assert not changed & {"conv0_weight", "stage1_unit1_conv1_weight"}
    assert changed >= {"stage1_unit1_conv2_weight", "predictor1_classes_weight"}


def test_a_pattern_that_freezes_nothing_is_a_user_error_that_names_layers() -> None:
    net = network.build("resnet-18", 2, 64, 0)
    message = r"^hyperparameter freeze_layer_pattern='\^layer1_\.\*' matches no layer .* stage1_unit1_"
    with pytest.raises(UserError, match=message):
        layers.freeze(net, hyperparameters(freeze_layer_pattern="^layer1_.*"))


def test_a_pattern_that_freezes_everything_is_a_user_error() -> None:
    net = network.build("resnet-18", 2, 64, 0)
    with pytest.raises(UserError, match="nothing is left to train"):
        layers.freeze(net, hyperparameters(freeze_layer_pattern=".*"))
