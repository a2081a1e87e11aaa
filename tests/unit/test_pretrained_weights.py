"""Weight files: required tensors, names in different formats, and the command that checks and converts a file."""

import argparse
import io
import json
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from local.commands import weights as command
from tests.fixtures.pretrained.make_fixture import FOLDER, RESNETS, draw_all
from train.errors import UserError
from train.weights.files import NETWORKS, _counted_names, _torchvision_names, check, gluoncv_name, head, layout, read


def _rows(network: str) -> list[list]:
    return json.loads((FOLDER / f"{network}.json").read_text())["tensors"]


@pytest.fixture(scope="module")
def resnet18() -> dict[str, np.ndarray]:
    return draw_all(_rows("resnet18"))


@pytest.fixture(scope="module")
def vgg16() -> dict[str, np.ndarray]:
    """The weights, with dummy values for the large classifier."""
    drawn = draw_all(row for row in _rows("vgg16") if row[0].startswith("features."))
    return drawn | {name: np.zeros(1, np.float32) for name in head("vgg16")}


@pytest.mark.parametrize("network", NETWORKS)
def test_the_layout_matches_the_published_library(network: str) -> None:
    published = {name: tuple(shape) for name, shape, *_ in _rows(network)}
    body = {
        name: shape for name, shape in published.items() if not name.endswith("tracked") and name not in head(network)
    }
    assert published.keys() >= set(head(network))
    assert layout(network) == body
    assert list(layout(network)) == list(body)


@pytest.mark.parametrize("network", RESNETS)
def test_gluoncvs_resnet_names_are_converted_to_torchvisions(network: str) -> None:
    names = [*layout(network), *head(network)]
    assert list(_torchvision_names([gluoncv_name(name) for name in names], network).values()) == names


@pytest.mark.parametrize(
    "others", [("pre_logits.fc1", "pre_logits.fc2", "head.fc"), ("features.31", "features.33", "output")]
)
def test_timms_and_gluons_vgg16_names_are_converted_to_torchvisions(others: tuple[str, ...]) -> None:
    above = [f"{layer}.{part}" for layer in others for part in ("weight", "bias")]
    names = [*layout("vgg16"), *head("vgg16")]
    assert list(_torchvision_names([*layout("vgg16"), *above], "vgg16").values()) == names


@pytest.mark.parametrize("network", NETWORKS)
def test_mxnets_counted_names_are_converted_to_torchvisions(network: str) -> None:
    names = [*layout(network), *head(network)]
    counted = _counted_names(network)
    assert len(counted) == len(names)
    assert _torchvision_names([f"arg:net0_{name}" for name in counted], network) == {
        f"arg:net0_{name}": counted[name] for name in counted
    }


def test_counted_names_match_mxnets() -> None:
    counted = {name: mxnet_name for mxnet_name, name in _counted_names("resnet50").items()}
    assert counted["bn1.running_var"] == "batchnorm0_running_var"
    assert counted["layer1.0.downsample.1.weight"] == "down1_batchnorm0_gamma"
    assert counted["layer3.2.conv2.weight"] == "layers3_conv7_weight"
    assert counted["fc.bias"] == "dense0_bias"
    counted = {name: mxnet_name for mxnet_name, name in _counted_names("vgg16").items()}
    assert counted["features.28.bias"] == "conv12_bias"
    assert counted["classifier.6.weight"] == "dense2_weight"


def test_half_and_double_precision_are_converted_to_float32(resnet18: dict[str, np.ndarray], tmp_path: Path) -> None:
    for dtype in (np.float16, np.float64):
        save_file({name: value.astype(dtype) for name, value in resnet18.items()}, tmp_path / "w.safetensors")
        checked = check(read(tmp_path / "w.safetensors", "resnet18"), "resnet18", tmp_path / "w.safetensors")
        assert {value.dtype for value in checked.values()} == {np.dtype(np.float32)}
        np.testing.assert_allclose(checked["conv1.weight"], resnet18["conv1.weight"], rtol=1e-3, atol=1e-6)


def test_a_file_for_another_depth_is_recognised(resnet18: dict[str, np.ndarray]) -> None:
    with pytest.raises(
        UserError, match=r"^w.params contains resnet18, but the job needs resnet50: provide resnet50's file"
    ):
        check(resnet18, "resnet50", Path("w.params"))


@pytest.mark.parametrize("form", ["torchvision", "exported"])
@pytest.mark.parametrize(("actual", "expected"), [("resnet18", "vgg16"), ("vgg16", "resnet18")])
def test_a_file_for_another_family_is_rejected(actual: str, expected: str, form: str, tmp_path: Path) -> None:
    names = [*layout(actual), *head(actual)] if form == "torchvision" else [f"arg:{n}" for n in _counted_names(actual)]
    file = tmp_path / "w.safetensors"
    save_file({name: np.zeros(1, np.float32) for name in names}, file)
    with pytest.raises(UserError) as caught:
        check(read(file, expected), expected, file)
    assert str(caught.value).startswith(
        f"{file} contains {actual}, but the job needs {expected}: provide {expected}'s file"
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"features.28.bias": None}, "it lacks features.28.bias (1 in all)"),
        ({"features.1.running_mean": np.zeros(64)}, "it also has features.1.running_mean (1 in all)"),
        ({"features.0.weight": np.ones((64, 1, 3, 3))}, "features.0.weight has shape (64, 1, 3, 3) instead of (64"),
    ],
)
def test_a_vgg_other_than_vgg16_is_rejected_naming_the_tensor(
    change: dict[str, np.ndarray | None], reason: str, vgg16: dict[str, np.ndarray]
) -> None:
    changed = {name: value for name, value in (vgg16 | change).items() if value is not None}
    with pytest.raises(UserError) as caught:
        check(changed, "vgg16", Path("w.safetensors"))
    assert reason in str(caught.value)


def test_gluoncvs_detector_weights_are_rejected(tmp_path: Path) -> None:
    names = ["init_scale", "norm4.scale", *(f"stages.{stage}.0.weight" for stage in range(6))]
    file = tmp_path / "vgg16_atrous.safetensors"
    save_file({name: np.zeros(1, np.float32) for name in names}, file)
    with pytest.raises(UserError, match=r"is not vgg16 .*it also has init_scale, norm4.scale, stages.0.0.weight"):
        check(read(file, "vgg16"), "vgg16", file)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"layer4.1.bn2.weight": None}, "it lacks layer4.1.bn2.weight (1 in all)"),
        ({"layer1.0.se.fc.weight": np.ones(1)}, "it also has layer1.0.se.fc.weight (1 in all)"),
        ({"conv1.weight": np.ones((64, 3, 3, 3))}, "conv1.weight has shape (64, 3, 3, 3) instead of (64, 3, 7"),
        ({"bn1.bias": np.full(64, np.nan)}, "values in bn1.bias that are not finite"),
        ({"bn1.bias": np.full(64, 1e300)}, "values in bn1.bias that are not finite"),
        ({"bn1.running_var": np.full(64, -1.0)}, "a negative variance"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_a_file_that_does_not_match_is_rejected_naming_the_tensor(
    change: dict[str, np.ndarray | None], reason: str, resnet18: dict[str, np.ndarray]
) -> None:
    changed = {name: value for name, value in (resnet18 | change).items() if value is not None}
    with pytest.raises(UserError) as caught:
        check(changed, "resnet18", Path("w.safetensors"))
    assert str(caught.value).startswith("w.safetensors ")
    assert reason in str(caught.value)


def _zip(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return file.getvalue()


class _Bomb:
    def __reduce__(self) -> tuple:
        return pytest.fail, ("the pickle was opened",)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is neither .safetensors nor .params (it starts with b'')"),
        (b"<!DOCTYPE html>", "is neither .safetensors nor .params (it starts with b'<!DOCTYP')"),
        (pickle.dumps(_Bomb()), "is a PyTorch pickle"),
        (_zip("archive/data.pkl"), "is a PyTorch pickle"),
        (_zip("resnet18_v1b.params"), "is a zip archive: unpack it"),
        (_zip("archive/data.pkl")[:50], "is a damaged or incomplete zip archive"),
        (b"\x1f\x8b\x08", "is a gzip archive"),
        (b"\x89HDF\r\n\x1a\n", "is a Keras file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        (struct.pack("<Q", 9) + b'{"a": 1}', "is damaged or incomplete"),
    ],
)
def test_other_files_are_recognised_by_their_bytes(content: bytes, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "resnet18.safetensors"
    file.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read(file, "resnet18")
    assert str(caught.value).startswith(f"{file} {reason}")


@given(st.binary(max_size=200).map(lambda rest: struct.pack("<Q", len(rest) + 1) + b"{" + rest))
def test_a_damaged_safetensors_file_is_a_user_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"damaged or incomplete|it lacks"):
        check(read(file, "resnet18"), "resnet18", file)


def test_a_data_type_that_numpy_lacks_is_named(tmp_path: Path) -> None:
    header = json.dumps({"bn1.bias": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(UserError, match=r"stores bn1\.bias as BF16: save it as float32"):
        read(tmp_path / "w.safetensors", "resnet18")


def _run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(argument) for argument in arguments]))


def test_the_command_writes_the_canonical_format_and_prints_its_checksum(
    resnet18: dict[str, np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_file({gluoncv_name(name): value for name, value in resnet18.items()}, tmp_path / "any.safetensors")
    assert _run("resnet18", tmp_path / "any.safetensors", "--out", tmp_path / "out") == 0
    converted = load_file(tmp_path / "out" / "resnet18.safetensors")
    assert converted.keys() == {*layout("resnet18"), *head("resnet18")}
    assert all((converted[name] == resnet18[name]).all() for name in converted)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["resnet18.safetensors"]
    assert "PRETRAINED_SHA256=" in capsys.readouterr().out


def test_the_command_omits_vggs_classifier(vgg16: dict[str, np.ndarray], tmp_path: Path) -> None:
    save_file(vgg16, tmp_path / "model.safetensors")
    assert _run("vgg16", tmp_path / "model.safetensors", "--out", tmp_path / "out") == 0
    converted = load_file(tmp_path / "out" / "vgg16.safetensors")
    assert converted.keys() == layout("vgg16").keys()
    assert all((converted[name] == vgg16[name]).all() for name in converted)


@pytest.mark.parametrize(
    ("network", "name", "reason"),
    [
        ("resnet50", "resnet18.safetensors", "contains resnet18, but the job needs resnet50"),
        ("vgg16", "resnet18.safetensors", "contains resnet18, but the job needs vgg16"),
        ("resnet20", "resnet18.safetensors", "resnet20 has no pretrained weights"),
        ("resnet18", "missing.safetensors", "No such file"),
        ("resnet18", "resnet50.h5", "resnet50.h5 is a Keras file, which only image-classification-tensorflow can read"),
        (
            "mobilenetv2_1.0",
            "model.keras",
            "model.keras is a Keras file, which only image-classification-tensorflow can read",
        ),
    ],
)
def test_the_command_exits_2_with_the_reason_and_writes_nothing(
    network: str, name: str, reason: str, resnet18: dict[str, np.ndarray], tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    save_file(resnet18, tmp_path / "resnet18.safetensors")
    assert _run(network, tmp_path / name, "--out", tmp_path / "out") == 2
    stderr = capsys.readouterr().err
    assert reason in stderr
    assert len(stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()
