"""What tests/framework/test_segmentation.py runs inside the MXNet and the serving environment."""

import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.framework.bodies_training import Batches, Clock, Late, log_lines

_HP = {"num_classes": 3, "num_training_samples": 8, "use_pretrained_model": 0, "backbone": "resnet-18"}


def _checked(**changes: Any) -> dict[str, Any]:
    from train.semantic_segmentation import table

    return table.check({name: str(value) for name, value in (_HP | changes).items()})


def _lively(net: Any) -> Any:
    """The network with weights that leave no part of its graph unproven: blocks start as the identity otherwise."""
    import mxnet as mx

    for name, parameter in net.collect_params().items():
        if name.endswith("gamma"):
            parameter.set_data(mx.nd.random.uniform(0.5, 1.5, parameter.shape))
        elif name.endswith("running_mean"):
            parameter.set_data(mx.nd.random.normal(0, 0.1, parameter.shape))
    return net


def _input(side: int, count: int = 2) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, 3, side, side)).astype(np.float32)


def _batch(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Four pictures of noise, brighter where their class is not 0, and their labels with a border to ignore."""
    labels = np.zeros((4, side, side), np.float32)
    for index in range(4):
        labels[index, 8 * index : 8 * index + side // 3, 10 : 10 + side // 2] = 1 + index % 2
    images = _input(side, 4) * 0.2 + labels[:, None]
    labels[:, :2] = -1
    return images.astype(np.float32), labels


def losses(name: str) -> tuple[float, float]:
    """Loss on one batch before and after 25 steps of one optimizer."""
    from train.semantic_segmentation import loop, network

    rate = {"adagrad": 0.002, "adadelta": 0.5}.get(name, 0.001 if name in ("adam", "rmsprop") else 0.02)
    rate = 0.0001 if name == "rmsprop" else rate
    hp = _checked(optimizer=name, learning_rate=rate, crop_size=64, epochs=100)
    step = loop.Step(network.build("fcn", "resnet-18", 3, 0), hp, 25)
    batch = _batch(64)
    found = [float(step(*batch)[0].asscalar()) for _ in range(25)]
    return found[0], found[-1]


def head_rates() -> list[list[float]]:
    """The learning rates, as multiples, of a network's backbone and of its heads: from scratch, and made faster."""
    from train.semantic_segmentation import network

    net, found = network.build("fcn", "resnet-18", 3, 0), []
    for change in (lambda _: None, network.hasten_heads):
        change(net)
        named = net._collect_params_with_prefix()
        found += [
            sorted({value.lr_mult for name, value in named.items() if name.startswith(("head", "aux")) == heads})
            for heads in (False, True)
        ]
    return found


def rates(schedule: str, changes: dict[str, Any]) -> list[float]:
    """The learning rate at the updates 1 to 40 of a job of 4 epochs of 10 updates."""
    from train.semantic_segmentation import loop

    made = loop.optimizer(_checked(**changes, lr_scheduler=schedule, epochs=4, learning_rate=0.5), 10)
    return [float(made.lr_scheduler(update)) for update in range(1, 41)]


def ignored_pixels() -> dict[str, float]:
    """How far one pixel's image and its label, once ignored and once not, move the loss of a picture."""
    import mxnet as mx

    from train.semantic_segmentation import loop, network

    objective = loop.Objective(network.build("fcn", "resnet-18", 3, 0), 64)
    images, labels = _batch(64)

    def loss(changed: np.ndarray) -> float:
        return float(objective(mx.nd.array(images[:1]), mx.nd.array(changed[:1])).asscalar())

    other, nothing = labels.copy(), np.full_like(labels, -1)
    other[:, 30, 30] = 1 if labels[0, 30, 30] != 1 else 2
    return {"as it was": loss(labels), "another label": loss(other), "all ignored": loss(nothing)}


def speed_lines(count: int, seconds: float) -> list[str]:
    """The lines of the second of four epochs, of `count` batches, each of which takes `seconds` by the clock."""
    from train.semantic_segmentation import loop

    clock = Clock()

    class Steady:
        def __call__(self, *_: Any) -> tuple[Late]:
            return (Late(clock, seconds),)

        class trainer:
            learning_rate = 0.00009876

    hp = _checked(mini_batch_size=8, epochs=4)
    with log_lines() as said:
        loop.Epoch(1, Steady(), Batches(count), hp, time.monotonic()).run()
    return said


def export_differences(folder: str) -> dict[str, float]:
    """For each network the largest difference of the exported graph's logits from MXNet's, as a share of the largest.

    By the job's own check; sides whose maps PSP's bins and a ResNet's later strides do not divide.
    """
    import mxnet as mx

    from serve import artifact
    from train import export, native
    from train.pixels import MEAN, STD
    from train.semantic_segmentation import network

    found = {}
    for algorithm, backbone, side in (
        *(("fcn", "resnet-18", 104), ("psp", "resnet-18", 104), ("deeplab", "resnet-18", 72)),
        *(("psp", "resnet-50", 64), ("fcn", "resnet-101", 64)),
    ):
        place = Path(folder, f"{algorithm} {backbone}")
        place.mkdir()
        net = _lively(network.build(algorithm, backbone, 3, 0))
        tensors = _input(side)
        logits = network.Answer(net, side)(mx.nd.array(tensors)).asnumpy()
        symbol = network.Answer(net, side, plain=True)(mx.sym.var("data"))
        path = place / "model.onnx"
        export.to_onnx(symbol, native.parameters(net), "data", (3, side, side), path, ("logits",))
        spec = artifact.InputSpec("data", 3, side, side, side, "pad", MEAN, STD)
        artifact.write(artifact.Artifact("semantic-segmentation", algorithm, ("a", "b", "c"), spec, "logits"), place)
        np.save(place / "tensors.npy", tensors)
        (place / "files.json").write_text("[]")
        export._run_check(export.serving_python(), place, place)
        got = np.load(place / "tensor_outputs.npz")["logits"]
        found[place.name] = float(np.abs(got - logits).max() / np.abs(logits).max())
    return found


def one_network_at_two_sides() -> list[float]:
    """Logits of a picture before and after the same network has trained at another side: largest differences.

    Of a step at rate 0 in between, first for a block made before it and then for one made after it.
    """
    import mxnet as mx

    from train.semantic_segmentation import loop, network

    found = []
    for algorithm in ("fcn", "psp", "deeplab"):
        net = _lively(network.build(algorithm, "resnet-18", 3, 0))
        x = mx.nd.array(_input(104, 1))
        answer = network.Answer(net, 104)
        answer.hybridize(static_alloc=True, static_shape=True)
        before = answer(x).asnumpy()
        hp = _checked(algorithm=algorithm, crop_size=64, learning_rate=1e-30, weight_decay=0, momentum=0)
        step = loop.Step(net, hp, 1)
        states = {name: value.data().copy() for name, value in net.collect_params().items() if "running" in name}
        step(*_batch(64))[0].wait_to_read()
        for name, value in states.items():  # the step has moved BatchNorm's statistics
            net.collect_params()[name].set_data(value)
        after = [block(x).asnumpy() for block in (answer, network.Answer(net, 104))]
        found += [float(np.abs(logits - before).max() / np.abs(before).max()) for logits in after]
    return found


def reach_of_the_stages() -> dict[str, list[int]]:
    """For FCN on ResNet-18 the sides of its stages' maps, and rows of logits that a change in one cell of each moves.

    The picture has 104 pixels a side; the cell is the map's first.
    """
    import mxnet as mx

    from train.semantic_segmentation import network

    net = _lively(network.build("fcn", "resnet-18", 3, 0))
    stages = net.stages(mx.nd.array(_input(104, 1)))
    logits = net.main(stages).asnumpy()
    moved = []
    for index, stage in enumerate(stages):
        changed = stage.copy()
        changed[:, :, 0, 0] += 10
        others = net.main((*stages[:index], changed, *stages[index + 1 :])).asnumpy()
        moved.append(int(np.abs(others - logits).max(axis=(0, 1, 3)).nonzero()[0].max()) + 1)
    return {"sides": [stage.shape[2] for stage in stages], "rows": moved, "logits": list(logits.shape)}


def difference_from_gluoncv() -> dict[str, float]:
    """Largest differences of our logits from those of GluonCV's own classes, both with the same weights.

    Of the main and the auxiliary head, brought to the picture's side, as shares of the largest.
    """
    import mxnet as mx
    from gluoncv.model_zoo import deeplabv3, fcn, pspnet, resnetv1b, segbase

    from train.semantic_segmentation import network

    side, found = 104, {}
    segbase.get_backbone = lambda name, **kwargs: resnetv1b.resnet50_v1b(pretrained=False, dilated=True)
    for algorithm, theirs in (("fcn", fcn.FCN), ("psp", pspnet.PSPNet), ("deeplab", deeplabv3.DeepLabV3)):
        other = theirs(3, backbone="resnet50", aux=True, pretrained_base=False, crop_size=side)
        other.initialize()
        x = mx.nd.array(_input(side, 1))
        other(x)
        _lively(other)
        ours = network.build(algorithm, "resnet-50", 3, 0)
        mine, others = ours._collect_params_with_prefix(), other._collect_params_with_prefix()
        if len(mine) != len(others):
            return {f"{algorithm}: {len(mine)} parameters for {len(others)}": float("inf")}
        for name, value in zip(_ordered(mine), _ordered(others), strict=True):
            mine[name].set_data(others[value].data())
        network.set_map(ours, side)
        logits = [mx.nd.contrib.BilinearResize2D(part, height=side, width=side) for part in ours(x)]
        for what, a, b in zip(("", " auxiliary"), logits, other(x), strict=True):
            a, b = a.asnumpy(), b.asnumpy()
            found[algorithm + what] = float(np.abs(a - b).max() / np.abs(b).max())
    return found


def _ordered(names: Any) -> list[str]:
    """Names of parameters in the order in which the network computes; heads have other names, not another order."""
    base = [name for name in names if name.split(".")[0] in ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4")]
    heads = [name for part in ("head", "auxlayer") for name in names if name.startswith(part)]
    return sorted(base) + heads


def pretrained_report() -> dict[str, Any]:
    """What a torchvision ResNet-18 file does to a segmenter."""
    import tempfile

    from tests.framework.bodies_pretrained import _weight_file
    from train import pretrained
    from train.semantic_segmentation import network
    from train.weights import gluoncv_name, read

    net = network.build("fcn", "resnet-18", 3, 0)
    with tempfile.TemporaryDirectory() as folder:
        file = _weight_file("resnet18", Path(folder))
        report = pretrained.load_into(net, file, "resnet18")
        tensors = read(file, "resnet18")
    found = net._collect_params_with_prefix()
    differences = [
        np.abs(found[gluoncv_name(name)].data().asnumpy() - value).max()
        for name, value in tensors.items()
        if gluoncv_name(name) in found
    ]
    return {"loaded": report.loaded, "fresh": list(report.fresh), "difference": float(max(differences))}


def run_to_a_loss_that_is_not_finite(base: str, hyperparameters: dict[str, Any]) -> str:
    """Train with a schedule that multiplies the learning rate by 1e30 after the first epoch; what the job says."""
    from train.errors import UserError
    from train.semantic_segmentation import job, loop

    make = loop.optimizer

    def exploding(hp: dict[str, Any], updates: int) -> Any:
        optimizer = make(hp, updates)
        optimizer.lr_scheduler.factor = 1e30
        return optimizer

    loop.optimizer = exploding
    values = {**hyperparameters, "lr_scheduler": "step", "lr_scheduler_step": "1", "epochs": 4, "mini_batch_size": 2}
    try:
        job.run(Path(base), {name: str(value) for name, value in values.items()}, {})
    except UserError as error:
        return str(error)
    return "nothing was refused"


def served_mask(model: str, photo: str) -> list[list[int]]:
    """The mask of a photo by the server's code."""
    from serve.engine import Engine

    engine = Engine(Path(model), 2)
    return engine.task.evaluated(engine.answer(Path(photo).read_bytes())).tolist()
