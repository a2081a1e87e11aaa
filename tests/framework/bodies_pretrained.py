"""What tests/framework/test_pretrained.py runs beside MXNet. Fixtures: tests/fixtures/pretrained/make_fixture.py."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from tests.fixtures.pretrained.make_fixture import FOLDER, draw, draw_all
from train import pretrained
from train.errors import UserError


def fixture(network: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{network}.json").read_text())


def _weight_file(network: str, folder: Path) -> Path:
    file = folder / f"{network}.safetensors"
    save_file(draw_all(fixture(network)["tensors"]), file)
    return file


def _net(network: str, channels: int = 3, classes: int = 1000) -> Any:
    from train.image_classification import network as networks

    return networks.build(int(network.removeprefix("resnet")), classes, channels, seed=0)


def _loaded(network: str, folder: Path, channels: int = 3) -> Any:
    net, file = _net(network, channels), _weight_file(network, folder)
    pretrained.load_into(net, file, network)
    file.unlink()  # all depths together are 800 MB
    return net


def _values(net: Any) -> dict[str, np.ndarray]:
    return {name: parameter.data().asnumpy() for name, parameter in net._collect_params_with_prefix().items()}


def _answer(net: Any, image: np.ndarray) -> np.ndarray:
    import mxnet as mx

    return net(mx.nd.array(image)).asnumpy()


def _body(net: Any) -> np.ndarray:
    """All values below the last layer, in one row."""
    return np.concatenate([value.ravel() for name, value in _values(net).items() if not name.startswith("fc.")])


def _largest_difference(one: Any, other: Any) -> float:
    return float(np.abs(_body(one) - _body(other)).max())


def logits(networks: list[str], folder: str) -> dict[str, list[list[float]]]:
    """For each network ten logits of ours with the file's weights, and the ten of the library that made the fixture."""
    import mxnet as mx

    answers = {}
    for network in networks:
        made = fixture(network)
        net = _loaded(network, Path(folder))
        drawn = draw_all(row for row in made["tensors"] if row[0].startswith("fc."))
        net.fc.weight.set_data(mx.nd.array(drawn["fc.weight"]))  # load_into leaves the last layer to the job
        net.fc.bias.set_data(mx.nd.array(drawn["fc.bias"]))
        answers[network] = [_answer(net, draw(made["image"]))[0, :10].tolist(), made["logits"]]
    return answers


def loading(folder: str) -> dict[str, Any]:
    """What loading does to a three-class, a one-channel, a dilated and a deeper network, and with unfit files."""
    return {
        "three classes": _three_classes(Path(folder)),
        "one channel": _one_channel(Path(folder)),
        "dilated": _dilated(Path(folder)),
        "deeper": _deeper(Path(folder)),
        "refusals": _refusals(Path(folder)),
    }


def _three_classes(folder: Path) -> dict[str, Any]:
    net = _net("resnet18", classes=3)
    before = _values(net)
    report = pretrained.load_into(net, _weight_file("resnet18", folder), "resnet18")
    change = {name: float(np.abs(value - before[name]).max()) for name, value in _values(net).items()}
    return {
        "loaded": report.loaded, "unused": sorted(report.unused), "fresh": report.fresh, "said": str(report),
        "unchanged": [name for name, most in change.items() if most == 0],
    }  # fmt: skip


def _one_channel(folder: Path) -> list[list[float]]:
    """Logits for a one-channel image, and for its three equal channels, from the same weight file."""
    grey = np.random.RandomState(1).uniform(-2, 2, (1, 1, 64, 80)).astype(np.float32)
    one, three = (_loaded("resnet18", folder, channels) for channels in (1, 3))
    one.fc.weight.set_data(three.fc.weight.data())
    return [_answer(one, grey)[0].tolist(), _answer(three, np.repeat(grey, 3, axis=1))[0].tolist()]


def _dilated(folder: Path) -> float:
    """Largest difference between a plain ResNet-50 and segmentation's dilated one that loaded the same file."""
    import mxnet as mx
    from gluoncv.model_zoo import resnet50_v1b

    net = resnet50_v1b(dilated=True)
    net.initialize()
    net(mx.nd.zeros((1, 3, 64, 64)))
    pretrained.load_into(net, _weight_file("resnet50", folder), "resnet50")
    return _largest_difference(net, _loaded("resnet50", folder))


def _deeper(folder: Path) -> str:
    """What loading a whole resnet18 file into a deeper network says."""
    try:
        pretrained.load_into(_net("resnet34"), _weight_file("resnet18", folder), "resnet18")
    except ValueError as error:
        return str(error)
    raise AssertionError("a resnet34 was half loaded")


def _refusals(folder: Path) -> dict[str, str]:
    """What loading unfit files into a resnet18 says, by file name. Fails when the network is not left as it was."""
    import mxnet as mx

    net = _net("resnet18")
    net.save_parameters(f"{folder}/cut.params")
    os.truncate(folder / "cut.params", 1_000_000)
    mx.nd.save(f"{folder}/list.params", [mx.nd.zeros((1,))])
    _weight_file("resnet34", folder)
    before, said = _body(net), {}
    for name in ("cut.params", "list.params", "resnet34.safetensors"):
        try:
            pretrained.load_into(net, folder / name, "resnet18")
        except UserError as error:
            said[name] = str(error)
        assert (_body(net) == before).all(), f"{name} changed the network"
    return said


def params(networks: list[str], folder: str) -> dict[str, float]:
    """Largest difference of each network to one that loads its .params file, as Gluon saves it and as it exports it."""
    differences = {}
    for network in networks:
        net = _loaded(network, Path(folder))
        saved, exported = Path(folder, f"{network}_v1b-0757602.params"), Path(folder, f"{network}-0003.params")
        net.save_parameters(str(saved))
        _answer(net, np.zeros((1, 3, 64, 64), np.float32))  # a network is exported as it last ran
        net.export(f"{folder}/{network}", epoch=3)
        for how, file in (("saved", saved), ("exported", exported)):
            other = _net(network)
            pretrained.load_into(other, file, network)
            differences[f"{how} {network}"] = _largest_difference(net, other)
    return differences
