"""The detectors, compared with GluonCV's and the paper's, exported to ONNX, and with weights from torchvision."""

from pathlib import Path

import mxnet as mx
import numpy as np
import pytest
from gluoncv.model_zoo import get_model
from mxnet import autograd

from serve import artifact
from tests.mxnet import served
from tests.mxnet.networks import assert_resnet_18_is_loaded, pictures, randomize
from train.data.pixels import MEAN, STD
from train.gluon import onnx
from train.object_detection import network
from train.weights import native


@pytest.mark.parametrize(("side", "count"), [(300, 8732), (512, 24564)])
def test_the_number_of_anchors_matches_the_paper(side: int, count: int) -> None:
    assert len(network.anchors("vgg-16", side)) == count


@pytest.mark.parametrize(
    ("base_network", "side"),
    [*(("resnet-18", side) for side in (64, 97, 255, 333)), *(("vgg-16", side) for side in (64, 131, 447, 449))],
)
def test_pictures_of_any_size_have_an_anchor_for_each_prediction(base_network: str, side: int) -> None:
    net = network.Predictor(base_network, 1, side)
    _, offsets, _ = mx.sym.Group([*net(mx.sym.var("data")), mx.sym.var("data")]).infer_shape(data=(1, 3, side, side))[1]
    assert offsets[1] == len(network.anchors(base_network, side))


def test_the_vgg_detector_matches_gluoncvs_with_the_same_weights() -> None:
    theirs, ours = get_model("ssd_300_vgg16_atrous_voc", pretrained_base=False), network.build("vgg-16", 20, 300, 0)
    theirs.initialize()
    x = mx.nd.array(pictures(300, 1))
    theirs(x)
    parameters = theirs._collect_params_with_prefix()
    for name, parameter in parameters.items():
        if name.startswith("box_predictors"):  # small offsets, because ours are limited to 20 times the anchor
            parameter.set_data(parameter.data() * 0.01)
    for name, parameter in ours.predictor._collect_params_with_prefix().items():
        their_name = name.replace("classes.", "class_predictors.").replace("boxes.", "box_predictors.")
        parameter.set_data(parameters[their_name].data())
    with autograd.train_mode():
        logits, _, anchors = (out.asnumpy() for out in theirs(x))
    theirs.set_nms(nms_thresh=0, post_nms=-1)
    boxes = theirs(x)[2].asnumpy()[0, : anchors.shape[1]]
    np.testing.assert_allclose(network.anchors("vgg-16", 300), anchors[0] / 300, rtol=0, atol=1e-6)
    np.testing.assert_allclose(ours.predictor(x)[0].asnumpy(), logits, rtol=0, atol=1e-4 * np.abs(logits).max())
    np.testing.assert_allclose(ours(x)[1].asnumpy()[0], boxes / 300, rtol=0, atol=1e-4)


@pytest.mark.parametrize("base_network", ["resnet-18", "resnet-50", "vgg-16"])
def test_the_exported_graph_of_each_network_matches_mxnet(base_network: str, tmp_path: Path) -> None:
    side, tensors = 128, pictures(128, 2)
    net = network.build(base_network, 2, side, 0)
    randomize(net)
    scores, boxes = (out.asnumpy() for out in net(mx.nd.array(tensors)))
    symbol = mx.sym.Group(list(net(mx.sym.var("data"))))
    path = tmp_path / "model.onnx"
    onnx.export(symbol, native.parameters(net), "data", (3, side, side), path, ("scores", "boxes"))
    spec = artifact.InputSpec("data", 3, side, side, side, "stretch", MEAN, STD)
    nms = artifact.Nms(0.45, 400, 0.01)
    artifact.write(artifact.Artifact("object-detection", base_network, ("a", "b"), spec, "boxes", nms=nms), tmp_path)
    outputs = served.outputs(tmp_path, tensors)
    assert outputs.keys() == {"scores", "boxes"}
    np.testing.assert_allclose(outputs["scores"], scores, rtol=0, atol=1e-3)
    np.testing.assert_allclose(outputs["boxes"], boxes, rtol=0, atol=1e-3)


def test_a_torchvision_file_sets_the_detectors_base_weights_and_not_its_own_layers(tmp_path: Path) -> None:
    net = network.build("resnet-18", 2, 64, 0)
    assert_resnet_18_is_loaded(net.predictor.features, tmp_path, own_layers=("extras.",))
