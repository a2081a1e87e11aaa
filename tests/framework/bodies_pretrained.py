"""What tests/framework/test_pretrained.py runs beside MXNet. Fixtures: tests/fixtures/pretrained/make_fixture.py."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from tests.fixtures.pretrained.make_fixture import FOLDER, draw, draw_all
from train import pretrained, weights
from train.errors import UserError


def fixture(network: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{network}.json").read_text())


def _weight_file(network: str, folder: Path) -> Path:
    """The fixture's weights, under torchvision's names; of VGG's classifier, nine tenths of a file, only the names."""
    file = folder / f"{network}.safetensors"
    rows = fixture(network)["tensors"]
    classifier = {row[0]: np.zeros(1, np.float32) for row in rows if row[0].startswith("classifier.")}
    save_file(draw_all(row for row in rows if row[0] not in classifier) | classifier, file)
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


def features(folder: str) -> dict[str, Any]:
    """What loading VGG-16 into a detector reports, and what two of its stages hand on where the fixture has values."""
    import mxnet as mx

    from train.object_detection import network

    made, seen = fixture("vgg16"), {}
    net = network.build("vgg-16", classes=2, side=64, seed=0).predictor.features
    net.hybridize(False)  # hooks see no arrays otherwise
    before = _values(net)
    report = pretrained.load_into(net, _weight_file("vgg16", Path(folder)), "vgg16")
    for name, stage in (("conv4_3", 3), ("conv5_3", 4)):
        net.stages[stage].register_forward_hook(lambda block, given, out, name=name: seen.update({name: out.asnumpy()}))
    net(mx.nd.array(draw(made["image"])))
    return {
        "loaded": report.loaded, "unused": sorted(report.unused), "fresh": report.fresh,
        "unchanged": [name for name, value in _values(net).items() if (value == before[name]).all()],
        **{name: [(float(out[0][tuple(at)]), value) for *at, value in made[name]] for name, out in seen.items()},
    }  # fmt: skip


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


def vgg_params(folder: str) -> dict[str, float]:
    """Largest difference between Gluon's VGG-16 and the tensors read from its file, as Gluon saves and exports it."""
    from gluoncv.model_zoo import vgg16

    net = vgg16(classes=3)
    net.initialize()
    _answer(net, np.zeros((1, 3, 32, 32), np.float32))  # a small picture makes a small classifier
    net.hybridize()
    _answer(net, np.zeros((1, 3, 32, 32), np.float32))
    saved, exported = Path(folder, "vgg16-e660d456.params"), Path(folder, "vgg16-0000.params")
    net.save_parameters(str(saved))
    net.export(f"{folder}/vgg16")
    values, differences = _values(net), {}
    for how, file in (("saved", saved), ("exported", exported)):
        tensors = weights.check(weights.read(file, "vgg16"), "vgg16", file)
        differences[how] = max(float(np.abs(values[name] - tensor).max()) for name, tensor in tensors.items())
    return differences
