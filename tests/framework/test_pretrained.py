"""Weights of torchvision and timm in our networks, proven on what those libraries answered with drawn weights."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.environments import REPOSITORY
from tests.fixtures.pretrained.make_fixture import draw_all
from tests.framework import bodies_pretrained as bodies
from train.weights import NETWORKS

InMxnet = Callable[..., Any]
PARAMS = ["resnet18", "resnet50"]


@pytest.fixture(scope="module")
def logits(in_mxnet: InMxnet, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return in_mxnet(bodies.logits, list(NETWORKS), tmp_path_factory.mktemp("logits"))


@pytest.fixture(scope="module")
def loading(in_mxnet: InMxnet, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return in_mxnet(bodies.loading, tmp_path_factory.mktemp("loading"))


@pytest.fixture(scope="module")
def params_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("params")


@pytest.fixture(scope="module")
def params(in_mxnet: InMxnet, params_folder: Path) -> dict[str, float]:
    return in_mxnet(bodies.params, PARAMS, params_folder)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_torchvision_file_gives_the_logits_of_its_own_library(network: str, logits: dict[str, Any]) -> None:
    ours, theirs = logits[network]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)


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
