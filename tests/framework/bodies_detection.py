"""What tests/framework/test_detection.py runs inside the MXNet and the serving environment."""

import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.framework.bodies_training import Batches, Clock, Late, log_lines

_HP = {"num_classes": 2, "num_training_samples": 8, "use_pretrained_model": 0, "base_network": "resnet-18"}


def _checked(**changes: Any) -> dict[str, Any]:
    from train.object_detection import table

    return table.check({name: str(value) for name, value in (_HP | changes).items()})


def _lively(net: Any) -> Any:
    """The network with weights that leave no part of its graph unproven: blocks start as the identity otherwise."""
    import mxnet as mx

    for name, parameter in net.collect_params().items():
        if name.endswith("gamma"):
            parameter.set_data(mx.nd.random.uniform(0.5, 1.5, parameter.shape))
        elif name.endswith("weight") and ("classes" in name or "boxes" in name):
            parameter.set_data(mx.nd.random.normal(0, 0.02, parameter.shape))
    return net


def _input(side: int, count: int = 2) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, 3, side, side)).astype(np.float32)


def _batch(side: int, anchors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Four pictures of noise with one box each, and their targets."""
    from train.object_detection.targets import assign

    boxes = [np.array([[i % 2, 0.1 + 0.1 * i, 0.2, 0.5 + 0.1 * i, 0.7]], np.float32) for i in range(4)]
    found = [assign(anchors, box) for box in boxes]
    return _input(side, 4), np.stack([classes for classes, _ in found]), np.stack([offsets for _, offsets in found])


def losses(name: str) -> tuple[float, float]:
    """Loss on one batch before and after 25 steps of one optimizer."""
    from train.object_detection import loop, network

    rate = {"sgd": 0.001, "adam": 0.001, "rmsprop": 0.0003, "adadelta": 1.0}[name]
    step = loop.Step(network.build("resnet-18", 2, 64, 0), _checked(optimizer=name, learning_rate=rate))
    batch = _batch(64, network.anchors("resnet-18", 64))
    found = [sum(float(part.sum().asscalar()) for part in step(*batch)) for _ in range(25)]
    return found[0], found[-1]


def moved_layers(pattern: str) -> dict[str, bool]:
    """Which parameters a step changes when `pattern` is frozen, by public name."""
    from train.object_detection import layers, loop, network

    hp = _checked(freeze_layer_pattern=pattern)
    net = network.build("resnet-18", 2, 64, 0)
    layers.freeze(net, hp)
    named = {layers.public_name(name): value for name, value in net._collect_params_with_prefix().items()}
    before = {name: value.data().asnumpy() for name, value in named.items()}
    step = loop.Step(net, hp)
    for _ in range(2):  # a block's first kernels have no gradient until its last scale has left zero
        step(*_batch(64, network.anchors("resnet-18", 64)))
    return {name: bool((value.data().asnumpy() != before[name]).any()) for name, value in named.items()}


def freeze_message(pattern: str) -> str:
    """What a pattern is refused with."""
    from train.errors import UserError
    from train.object_detection import layers, network

    try:
        layers.freeze(network.build("resnet-18", 2, 64, 0), _checked(freeze_layer_pattern=pattern))
    except UserError as error:
        return str(error)
    return "nothing was refused"


def losses_with_and_without_a_box() -> list[float]:
    """Cross-entropy of a photo with a box and of one without, in one batch."""
    from train.object_detection import loop, network

    images, classes, boxes = _batch(64, network.anchors("resnet-18", 64))
    step = loop.Step(network.build("resnet-18", 2, 64, 0), _checked())
    return step(images[:2], np.stack([classes[0], 0 * classes[0]]), boxes[:2])[0].asnumpy().tolist()


def layer_names(base_network: str) -> list[str]:
    """Public names of all parameters of a detector."""
    from train.object_detection import layers, network

    return [layers.public_name(name) for name in network.Detector(base_network, 2, 300)._collect_params_with_prefix()]


def speed_lines(count: int, seconds: float) -> list[str]:
    """The lines of the second of four epochs, of `count` batches, each of which takes `seconds` by the clock."""
    from train.object_detection import loop

    clock = Clock()
    losses = Late(clock, seconds / 2), Late(clock, seconds / 2)
    hp = _checked(mini_batch_size=8, epochs=4)
    with log_lines() as said:
        loop.Epoch(1, lambda *_: losses, Batches(count), hp, time.monotonic()).run()
    return said


def run_to_a_loss_that_is_not_finite(base: str, hyperparameters: dict[str, Any]) -> str:
    """Train with a schedule that multiplies the learning rate by 1e30 after the first epoch; what the job says."""
    from train.errors import UserError
    from train.object_detection import job, loop

    make = loop.optimizer

    def exploding(hp: dict[str, Any]) -> Any:
        optimizer = make(hp)
        optimizer.lr_scheduler.factor = 1e30
        return optimizer

    loop.optimizer = exploding
    values = {**hyperparameters, "lr_scheduler_step": "1", "num_training_samples": 8, "epochs": 4}
    try:
        job.run(Path(base), {name: str(value) for name, value in values.items()}, {})
    except UserError as error:
        return str(error)
    return "nothing was refused"


def module_detections(model: str, photo: str) -> list[list[float]]:
    """Detections of a photo by MXNet's own Module API, as a user of the built-in would load the native files."""
    import mxnet as mx

    from serve import artifact, preprocess

    symbol, arguments, auxiliary = mx.model.load_checkpoint(f"{model}/model_algo_1", 0)
    tensor = preprocess.load(Path(photo).read_bytes(), artifact.read(Path(model)).input)[None]
    module = mx.mod.Module(symbol, data_names=["data"], label_names=None)
    module.bind([("data", tensor.shape)], for_training=False)
    module.set_params(arguments, auxiliary)
    module.forward(mx.io.DataBatch([mx.nd.array(tensor)]), is_train=False)
    rows = module.get_outputs()[0].asnumpy()[0]
    rows = rows[rows[:, 1] > 0]
    rows[:, 2:] = rows[:, 2:].clip(0, 1)
    return rows.tolist()


def served_detections(model: str, photo: str) -> list[list[float]]:
    """Detections of a photo by the server's code."""
    from serve.engine import Engine

    return Engine(Path(model), 2).answer(Path(photo).read_bytes()).values.tolist()


def export_differences(folder: str) -> dict[str, float]:
    """For each network the largest difference of the exported graph's outputs from MXNet's, by the job's own check."""
    import mxnet as mx

    from serve import artifact
    from train import export, native
    from train.object_detection import network
    from train.pixels import MEAN, STD

    found = {}
    for base_network, side in (("resnet-18", 128), ("resnet-50", 128), ("vgg-16", 128)):
        place = Path(folder, base_network)
        place.mkdir()
        net = _lively(network.build(base_network, 2, side, 0))
        tensors = _input(side)
        outputs = dict(zip(("scores", "boxes"), (out.asnumpy() for out in net(mx.nd.array(tensors))), strict=True))
        symbol = mx.sym.Group(list(net(mx.sym.var("data"))))
        path = place / "model.onnx"
        export.to_onnx(symbol, native.parameters(net), "data", (3, side, side), path, tuple(outputs))
        spec = artifact.InputSpec("data", 3, side, side, side, "stretch", MEAN, STD)
        nms = artifact.Nms(0.45, 400, 0.01)
        artifact.write(artifact.Artifact("object-detection", base_network, ("a", "b"), spec, "boxes", nms=nms), place)
        np.save(place / "tensors.npy", tensors)
        (place / "files.json").write_text("[]")
        export._run_check(export.serving_python(), place, place)
        got = np.load(place / "tensor_outputs.npz")
        found[base_network] = max(float(np.abs(got[name] - value).max()) for name, value in outputs.items())
    return found


def movement_of_the_first_kernels() -> list[float]:
    """How far one step of SGD moves conv1_1 and conv1_2 of VGG-16, as shares of what they were."""
    from train.object_detection import layers, loop, network

    net = network.build("vgg-16", 2, 64, 0)
    named = {layers.public_name(name): value for name, value in net._collect_params_with_prefix().items()}
    kernels = [named[f"conv1_{number}_weight"] for number in (1, 2)]
    before = [kernel.data().asnumpy() for kernel in kernels]
    loop.Step(net, _checked(base_network="vgg-16", learning_rate=0.0001))(*_batch(64, network.anchors("vgg-16", 64)))
    after = [kernel.data().asnumpy() for kernel in kernels]
    return [float(np.abs(b - a).sum() / np.abs(a).sum()) for a, b in zip(before, after, strict=True)]


def anchor_counts() -> dict[str, int]:
    """How many anchors the two detectors of the paper have."""
    from train.object_detection import network

    return {f"vgg-16 {side}": len(network.anchors("vgg-16", side)) for side in (300, 512)}


def predictions_and_anchors() -> dict[str, tuple[int, int]]:
    """Predictions of the network and anchors, for sides that no power of two divides."""
    import mxnet as mx

    from train.object_detection import network

    found = {}
    for base_network, sides in (("resnet-18", (64, 97, 255, 333)), ("vgg-16", (64, 131, 447, 449))):
        for side in sides:
            net = network.Predictor(base_network, 1, side)
            net.initialize()
            offsets = net(mx.nd.zeros((1, 3, side, side)))[1]
            found[f"{base_network} {side}"] = offsets.shape[1], len(network.anchors(base_network, side))
    return found


def difference_from_gluoncv() -> dict[str, float]:
    """Largest differences of our VGG detector from GluonCV's `ssd_300_vgg16_atrous_voc`, both with its weights.

    Of logits as a share of the largest.
    """
    import mxnet as mx
    from gluoncv.model_zoo import get_model
    from mxnet import autograd

    from train.object_detection import network

    theirs = get_model("ssd_300_vgg16_atrous_voc", pretrained_base=False)  # of 20 classes
    theirs.initialize()
    x = mx.nd.array(_input(300, 1))
    theirs(x)
    for name, parameter in theirs._collect_params_with_prefix().items():
        if name.startswith("box_predictors"):  # small offsets: ours end where a box is 20 times its anchor
            parameter.set_data(parameter.data() * 0.01)
    with autograd.train_mode():
        logits, _, anchors = (out.asnumpy() for out in theirs(x))
    ours = network.build("vgg-16", 20, 300, 0)
    mine, others = ours.predictor._collect_params_with_prefix(), theirs._collect_params_with_prefix()
    for name, parameter in mine.items():
        other = name.replace("classes.", "class_predictors.").replace("boxes.", "box_predictors.")
        parameter.set_data(others[other].data())
    theirs.set_nms(nms_thresh=0, post_nms=-1)
    boxes = theirs(x)[2].asnumpy()[0, : len(network.anchors("vgg-16", 300))] / 300
    return {
        "anchors": float(np.abs(anchors[0] / 300 - network.anchors("vgg-16", 300)).max()),
        "logits": float(np.abs(ours.predictor(x)[0].asnumpy() - logits).max() / np.abs(logits).max()),
        "boxes": float(np.abs(ours(x)[1].asnumpy()[0] - boxes).max()),
    }


def decoding_error() -> float:
    """Largest difference of boxes that were encoded as targets and decoded as the network does, from themselves."""
    import mxnet as mx

    from train.object_detection import network
    from train.object_detection.targets import encode

    anchors = network.anchors("resnet-18", 300)
    rng = np.random.default_rng(3)
    low = rng.uniform(0, 0.6, (len(anchors), 2))
    boxes = np.concatenate([low, low + rng.uniform(0.05, 0.4, (len(anchors), 2))], axis=1).astype(np.float32)
    offsets = encode(anchors, boxes)
    decoded = network.Detector._decoded(mx.nd, mx.nd.array(offsets[None]), mx.nd.array(anchors[None]))
    return float(np.abs(decoded.asnumpy()[0] - boxes).max())


def precisions() -> dict[str, list[float]]:
    """Mean average precision by eleven points and by area, of cases worked by hand."""
    from train.object_detection.evaluation import mean_average_precision

    box, other, beside = [0.1, 0.1, 0.3, 0.3], [0.6, 0.6, 0.9, 0.9], [0.4, 0.4, 0.5, 0.5]

    def both(found: list[Any], truth: list[Any], overlap: float = 0.5) -> list[float]:
        rows = np.array(found, np.float32).reshape(-1, 6)
        true = np.array(truth, np.float32).reshape(-1, 5)
        return [mean_average_precision([rows], [true], 1000, overlap, eleven) for eleven in (True, False)]

    half = [0.1, 0.1, 0.3, 0.2]  # of `box`, whose sides are 200 pixels and, the far edge included, 201
    just = (201 * 101) / (201 * 201)
    found = {
        "every box found": both([[0, 0.9, *box], [1, 0.8, *other]], [[0, *box], [1, *other]]),
        "no detections": both([], [[0, *box]]),
        "a duplicate": both([[0, 0.9, *box], [0, 0.8, *box]], [[0, *box], [0, *other]]),
        "a surer mistake": both([[0, 0.9, *beside], [0, 0.8, *box]], [[0, *box]]),
        "a class without boxes": both([[0, 0.9, *box], [1, 0.9, *other]], [[0, *box]]),
    }
    edge = [both([[0, 0.9, *half]], [[0, *box]], just + shift)[0] for shift in (0.001, -0.001)]
    return {**found, "overlap just below and just above the threshold": edge}


def suppression_difference() -> float:
    """Largest difference of detections by MXNet while training from the server's, on drawn scores without ties."""
    import mxnet as mx

    from serve.artifact import Nms
    from serve.detection import select
    from train.object_detection.evaluation import SCORE_FLOOR, detections

    rng = np.random.default_rng(4)
    scores = (rng.permutation(600 * 3).reshape(1, 600, 3) / 1800).astype(np.float32) ** 3
    low = rng.uniform(-0.1, 0.8, (1, 600, 2))
    boxes = np.concatenate([low, low + rng.uniform(0.05, 0.4, (1, 600, 2))], axis=2).astype(np.float32)
    ours = detections(mx.nd.array(scores), mx.nd.array(boxes), 0.45, 100)[0]
    served = select(scores[0], boxes[0], Nms(0.45, 100, SCORE_FLOOR))
    if ours.shape != served.shape or len(ours) < 10:
        return float("inf")
    return float(np.abs(ours - served).max())


def pretrained_report() -> dict[str, Any]:
    """What a torchvision ResNet-18 file does to a detector."""
    import tempfile

    from tests.framework.bodies_pretrained import _weight_file
    from train import pretrained
    from train.object_detection import network
    from train.weights import gluoncv_name, read

    net = network.build("resnet-18", 2, 64, 0)
    with tempfile.TemporaryDirectory() as folder:
        file = _weight_file("resnet18", Path(folder))
        report = pretrained.load_into(net.predictor.features, file, "resnet18")
        tensors = read(file, "resnet18")
    found = net.predictor.features._collect_params_with_prefix()
    differences = [
        np.abs(found[gluoncv_name(name)].data().asnumpy() - value).max()
        for name, value in tensors.items()
        if gluoncv_name(name) in found
    ]
    return {"loaded": report.loaded, "fresh": list(report.fresh), "difference": float(max(differences))}
