"""Weights of torchvision and timm in our networks, compared with the libraries' outputs for random weights."""

import os
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import mxnet as mx
import numpy as np
import pytest
from gluoncv.model_zoo import resnet50_v1b, vgg16
from safetensors.numpy import load_file

from tests import jobs
from tests.environments import REPOSITORY, python
from tests.fixtures.pretrained.make_fixture import RESNETS, draw, draw_all
from tests.mxnet import in_process
from tests.mxnet.weight_files import fixture, weight_file
from train.errors import UserError
from train.image_classification import network as classification
from train.object_detection import network as detection
from train.weights import files as weights
from train.weights import pretrained


def build(resnet: str, channels: int = 3, classes: int = 1000) -> mx.gluon.Block:
    """Return a classifier with a job's initial weights."""
    return classification.build(int(resnet.removeprefix("resnet")), classes, channels, seed=0)


def loaded(resnet: str, file: Path, channels: int = 3) -> mx.gluon.Block:
    """Return a classifier with the weights of a file, except for its last layer."""
    net = build(resnet, channels)
    pretrained.load_into(net, file, resnet)
    return net


def values(net: mx.gluon.Block) -> dict[str, np.ndarray]:
    """Return all arrays of a network by name."""
    return {name: parameter.data().asnumpy() for name, parameter in net._collect_params_with_prefix().items()}


def body(net: mx.gluon.Block) -> np.ndarray:
    """Return all values below the last layer in one array."""
    return np.concatenate([value.ravel() for name, value in values(net).items() if not name.startswith("fc.")])


def predict(net: mx.gluon.Block, images: np.ndarray) -> np.ndarray:
    """Return a network's outputs for float32 (N, C, H, W)."""
    return net(mx.nd.array(images)).asnumpy()


# ---- torchvision's and timm's files -----------------------------------------------------------------------------


@pytest.mark.parametrize("resnet", RESNETS)
def test_a_torchvision_file_gives_the_librarys_logits(resnet: str, tmp_path: Path) -> None:
    expected = fixture(resnet)
    file = weight_file(resnet, tmp_path)
    net = loaded(resnet, file)
    file.unlink()  # the files of all depths take 800 MB
    last = draw_all(row for row in expected["tensors"] if row[0].startswith("fc."))
    net.fc.weight.set_data(mx.nd.array(last["fc.weight"]))  # load_into does not set the last layer
    net.fc.bias.set_data(mx.nd.array(last["fc.bias"]))
    np.testing.assert_allclose(predict(net, draw(expected["image"]))[0, :10], expected["logits"], rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def resnet18_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weight file of torchvision's ResNet-18."""
    return weight_file("resnet18", tmp_path_factory.mktemp("resnet18"))


def test_all_layers_except_the_last_are_set_and_reported(resnet18_file: Path) -> None:
    net = build("resnet18", classes=3)
    before = values(net)
    report = pretrained.load_into(net, resnet18_file, "resnet18")
    assert report.loaded == 100
    assert sorted(report.unused) == ["fc.bias", "fc.weight"]
    assert list(report.fresh) == ["fc.weight", "fc.bias"]
    assert [name for name, value in values(net).items() if (value == before[name]).all()] == ["fc.weight", "fc.bias"]
    assert str(report).startswith("100 tensors of resnet18 from ")


def test_one_channel_gives_the_same_output_as_three_equal_channels(resnet18_file: Path) -> None:
    grey = np.random.RandomState(1).uniform(-2, 2, (1, 1, 64, 80)).astype(np.float32)
    grey_net, colour_net = (loaded("resnet18", resnet18_file, channels) for channels in (1, 3))
    grey_net.fc.weight.set_data(colour_net.fc.weight.data())
    expected = predict(colour_net, np.repeat(grey, 3, axis=1))

    np.testing.assert_allclose(predict(grey_net, grey), expected, rtol=1e-4, atol=1e-4)


def test_the_same_file_can_be_loaded_into_a_dilated_network(tmp_path: Path) -> None:
    file = weight_file("resnet50", tmp_path)
    net = resnet50_v1b(dilated=True)
    net.initialize()
    predict(net, np.zeros((1, 3, 64, 64)))
    pretrained.load_into(net, file, "resnet50")
    assert np.array_equal(body(net), body(loaded("resnet50", file)))


def test_a_network_is_never_partly_loaded(resnet18_file: Path) -> None:
    message = re.escape("the network to load is not resnet18: it also has ['layer1.2.")
    with pytest.raises(ValueError, match=f"^{message}"):
        pretrained.load_into(build("resnet34"), resnet18_file, "resnet18")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cut.params", "is damaged or incomplete ("),
        ("list.params", "contains arrays without names"),
        ("resnet34.safetensors", "contains resnet34, but the job needs resnet18"),
    ],
)
def test_an_unusable_file_is_named_and_does_not_change_the_network(name: str, message: str, tmp_path: Path) -> None:
    net = build("resnet18")
    file = tmp_path / name
    if name == "cut.params":
        net.save_parameters(str(file))
        os.truncate(file, 1_000_000)
    elif name == "list.params":
        mx.nd.save(str(file), [mx.nd.zeros((1,))])
    else:
        weight_file("resnet34", tmp_path)
    before = body(net)
    with pytest.raises(UserError, match=re.escape(f"/{name} {message}")):
        pretrained.load_into(net, file, "resnet18")
    assert np.array_equal(body(net), before)


# ---- VGG-16 in a detector ---------------------------------------------------------------------------------------


class Filled(NamedTuple):
    """The report of loading VGG-16 into a detector, the unchanged tensors, and the outputs of two layers."""

    report: pretrained.LoadReport
    unchanged: list[str]
    outputs: dict[str, np.ndarray]


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Filled:
    """A detector with the weights of torchvision's VGG-16, and its outputs for the fixture's image."""
    outputs: dict[str, np.ndarray] = {}
    net = detection.build("vgg-16", classes=2, side=64, seed=0).predictor.features
    net.hybridize(False)  # otherwise hooks get no arrays
    before = values(net)
    report = pretrained.load_into(net, weight_file("vgg16", tmp_path_factory.mktemp("vgg16")), "vgg16")
    for name, stage in (("conv4_3", 3), ("conv5_3", 4)):
        net.stages[stage].register_forward_hook(
            lambda block, inputs, output, name=name: outputs.update({name: output.asnumpy()})
        )
    net(mx.nd.array(draw(fixture("vgg16")["image"])))
    return Filled(report, [name for name, value in values(net).items() if (value == before[name]).all()], outputs)


@pytest.mark.parametrize("layer", ["conv4_3", "conv5_3"])
def test_torchvisions_vgg16_gives_a_detector_the_librarys_features(layer: str, detector: Filled) -> None:
    places, theirs = zip(*((tuple(place), value) for *place, value in fixture("vgg16")[layer]), strict=True)
    ours = [detector.outputs[layer][0][place] for place in places]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * max(theirs))


def test_a_vgg_detectors_sixth_stage_and_later_layers_are_not_pretrained(detector: Filled) -> None:
    report = detector.report
    assert report.loaded == 26
    assert sorted(report.unused) == [f"classifier.{n}.{part}" for n in (0, 3, 6) for part in ("bias", "weight")]
    parts = {"stages.5", "norm4", "extras.0", "extras.1", "extras.2", "extras.3"}
    assert {name.removesuffix(".scale").rsplit(".", 2)[0] for name in report.fresh} == parts
    assert detector.unchanged == ["init_scale", *report.fresh]


def test_a_job_reads_vgg16_from_the_channel_pretrained(tmp_path: Path) -> None:
    base = jobs.boxed_channels(tmp_path, train=8, validation=2)
    channel = base / "input" / "data" / "pretrained"
    channel.mkdir()
    file = weight_file("vgg16", channel)
    changes = {"base_network": "vgg-16", "use_pretrained_model": 1, "num_training_samples": 8, "epochs": 1}
    jobs.configure(base, changes, content_type="image/jpeg", defaults=jobs.DETECTION)
    done = in_process.run(base, "object-detection")
    assert (done.code, done.failure) == (0, "")
    loaded = f"Pretrained weights: 26 tensors of vgg16 from {file}; not used: classifier.0.bias, "
    assert [line for line in done.lines if line.startswith(loaded)], done.log


# ---- Gluon's files ----------------------------------------------------------------------------------------------


class Gluon(NamedTuple):
    """A network, its name, and its files as saved and as exported by Gluon."""

    net: mx.gluon.Block
    name: str
    files: dict[str, Path]


@pytest.fixture(scope="module", params=["resnet18", "resnet50"])
def resnet(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Gluon:
    """A classifier with random weights."""
    folder, name = tmp_path_factory.mktemp(request.param), request.param
    net = loaded(name, weight_file(name, folder))
    saved = folder / f"{name}_v1b-0757602.params"
    net.save_parameters(str(saved))
    predict(net, np.zeros((1, 3, 64, 64)))  # export needs a previous forward pass
    net.export(str(folder / name), epoch=3)
    return Gluon(net, name, {"saved": saved, "exported": folder / f"{name}-0003.params"})


@pytest.mark.parametrize("how", ["saved", "exported"])
def test_a_params_file_is_read_back_exactly(how: str, resnet: Gluon) -> None:
    assert np.array_equal(body(loaded(resnet.name, resnet.files[how])), body(resnet.net))


@pytest.mark.parametrize("resnet", ["resnet18"], indirect=True)
def test_the_weights_command_converts_params_to_torchvision_names(resnet: Gluon, tmp_path: Path) -> None:
    command = [python("dev"), "-m", "local.commands.weights", "resnet18", resnet.files["saved"], "--out", tmp_path]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    converted = load_file(tmp_path / "resnet18.safetensors")
    drawn = draw_all(fixture("resnet18")["tensors"])
    assert converted.keys() == {name for name in drawn if not name.endswith("num_batches_tracked")}
    assert all((converted[name] == drawn[name]).all() for name in converted if not name.startswith("fc."))


@pytest.fixture(scope="module")
def vgg(tmp_path_factory: pytest.TempPathFactory) -> Gluon:
    """Gluon's VGG-16."""
    folder, net = tmp_path_factory.mktemp("vgg"), vgg16(classes=3)
    net.initialize()
    predict(net, np.zeros((1, 3, 32, 32)))  # a small picture gives a small classifier
    net.hybridize()
    predict(net, np.zeros((1, 3, 32, 32)))
    saved = folder / "vgg16-e660d456.params"
    net.save_parameters(str(saved))
    net.export(str(folder / "vgg16"))
    return Gluon(net, "vgg16", {"saved": saved, "exported": folder / "vgg16-0000.params"})


@pytest.mark.parametrize("how", ["saved", "exported"])
def test_gluons_vgg16_file_is_read_exactly(how: str, vgg: Gluon) -> None:
    file, net = vgg.files[how], values(vgg.net)
    tensors = weights.check(weights.read(file, "vgg16"), "vgg16", file)
    assert [name for name, tensor in tensors.items() if not np.array_equal(tensor, net[name])] == []
