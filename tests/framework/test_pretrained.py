"""Weights of torchvision and timm in our networks, proven on what those libraries answered with drawn weights."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests import jobs
from tests.environments import REPOSITORY
from tests.fixtures.pretrained.make_fixture import RESNETS, draw_all
from tests.framework import bodies_pretrained as bodies

InMxnet = Callable[..., Any]
PARAMS = ["resnet18", "resnet50"]


@pytest.fixture(scope="module")
def logits(in_mxnet: InMxnet, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return in_mxnet(bodies.logits, list(RESNETS), tmp_path_factory.mktemp("logits"))


@pytest.fixture(scope="module")
def loading(in_mxnet: InMxnet, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return in_mxnet(bodies.loading, tmp_path_factory.mktemp("loading"))


@pytest.fixture(scope="module")
def features(in_mxnet: InMxnet, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return in_mxnet(bodies.features, tmp_path_factory.mktemp("features"))


@pytest.fixture(scope="module")
def params_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("params")


@pytest.fixture(scope="module")
def params(in_mxnet: InMxnet, params_folder: Path) -> dict[str, float]:
    return in_mxnet(bodies.params, PARAMS, params_folder)


@pytest.fixture(scope="module")
def vgg_params(in_mxnet: InMxnet, tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    return in_mxnet(bodies.vgg_params, tmp_path_factory.mktemp("vgg_params"))


@pytest.mark.parametrize("network", RESNETS)
def test_a_torchvision_file_gives_the_logits_of_its_own_library(network: str, logits: dict[str, Any]) -> None:
    ours, theirs = logits[network]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize("layer", ["conv4_3", "conv5_3"])
def test_torchvisions_vgg16_gives_a_detector_the_features_of_its_own_library(
    layer: str, features: dict[str, Any]
) -> None:
    ours, theirs = zip(*features[layer], strict=True)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * max(theirs))


def test_a_vgg_detector_starts_untrained_from_its_sixth_stage_on(features: dict[str, Any]) -> None:
    assert features["loaded"] == 26
    assert features["unused"] == [f"classifier.{n}.{part}" for n in (0, 3, 6) for part in ("bias", "weight")]
    parts = {"stages.5", "norm4", "extras.0", "extras.1", "extras.2", "extras.3"}
    assert {name.removesuffix(".scale").rsplit(".", 2)[0] for name in features["fresh"]} == parts
    assert features["unchanged"] == ["init_scale", *features["fresh"]]


def test_a_job_takes_vgg16_from_the_channel_pretrained(tmp_path: Path) -> None:
    base = jobs.boxed_channels(tmp_path, train=8, validation=2)
    channel = base / "input" / "data" / "pretrained"
    channel.mkdir()
    file = bodies._weight_file("vgg16", channel)
    changes = {"base_network": "vgg-16", "use_pretrained_model": 1, "num_training_samples": 8, "epochs": 1}
    jobs.configure(base, changes, content_type="image/jpeg", defaults=jobs.DETECTION)
    done = jobs.run(base, environ={"VISION_ALGORITHM": "object-detection"})
    assert (done.code, done.failure) == (0, "")
    said = f"Pretrained weights: 26 tensors of vgg16 from {file}; not used: classifier.0.bias, "
    assert [line for line in done.lines if line.startswith(said)], done.log


@pytest.mark.parametrize("how", ["saved", "exported"])
def test_gluons_own_vgg16_file_is_read_exactly(how: str, vgg_params: dict[str, float]) -> None:
    assert vgg_params[how] == 0


def test_everything_but_the_last_layer_is_set_and_the_report_says_so(loading: dict[str, Any]) -> None:
    report = loading["three classes"]
    assert report["loaded"] == 100
    assert report["unused"] == ["fc.bias", "fc.weight"]
    assert report["fresh"] == report["unchanged"] == ["fc.weight", "fc.bias"]
    assert report["said"].startswith("100 tensors of resnet18 from ")


def test_one_channel_answers_as_three_equal_channels(loading: dict[str, Any]) -> None:
    one, three = loading["one channel"]
    np.testing.assert_allclose(one, three, rtol=1e-4, atol=1e-4)


def test_the_same_file_fills_a_dilated_network(loading: dict[str, Any]) -> None:
    assert loading["dilated"] == 0


def test_a_network_is_never_half_loaded(loading: dict[str, Any]) -> None:
    assert loading["deeper"].startswith("the network to load is not resnet18: it also has ['layer1.2.")


@pytest.mark.parametrize("network", PARAMS)
@pytest.mark.parametrize("how", ["saved", "exported"])
def test_a_params_file_comes_back_exactly(how: str, network: str, params: dict[str, float]) -> None:
    assert params[f"{how} {network}"] == 0


@pytest.mark.usefixtures("params")
def test_the_weights_command_converts_params_to_torchvision_names(params_folder: Path, tmp_path: Path) -> None:
    file = params_folder / "resnet18_v1b-0757602.params"
    command = [sys.executable, "-m", "local.weights", "resnet18", file, "--out", tmp_path]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = load_file(tmp_path / "resnet18.safetensors")
    drawn = draw_all(bodies.fixture("resnet18")["tensors"])
    assert made.keys() == {name for name in drawn if not name.endswith("num_batches_tracked")}
    assert all((made[name] == drawn[name]).all() for name in made if not name.startswith("fc."))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("cut.params", "is damaged or incomplete ("),
        ("list.params", "holds arrays without names"),
        ("resnet34.safetensors", "holds resnet34, and resnet18 was asked for"),
    ],
)
def test_an_unfit_file_is_named_and_leaves_the_network_untouched(
    name: str, reason: str, loading: dict[str, Any]
) -> None:
    assert f"/{name} {reason}" in loading["refusals"][name]
