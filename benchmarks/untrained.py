"""Writes an artifact with random weights, for benchmarks that depend only on the size of the network.

.venvs/mxnet/bin/python -m benchmarks.untrained --layers 50 --out DIR
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serve.artifact import CLASSIFICATION, DETECTION, MODEL_ONNX, SEGMENTATION, Artifact, InputSpec, Nms, write
from train.job import threads

if TYPE_CHECKING:
    from mxnet import gluon, sym

CLASSES = {CLASSIFICATION: 1000, DETECTION: 20, SEGMENTATION: 21}
SIDES = {CLASSIFICATION: 224, DETECTION: 300, SEGMENTATION: 480}
_RULES = {
    CLASSIFICATION: (256, "crop", "softmax"),
    DETECTION: (300, "stretch", "boxes"),
    SEGMENTATION: (480, "pad", "logits"),
}
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def main() -> None:
    """Write DIR/model.onnx and DIR/model.json: a ResNet at 224 pixels, an SSD at 300 or an FCN at 480."""
    parser = argparse.ArgumentParser(prog="benchmarks.untrained", description=__doc__.splitlines()[0])
    parser.add_argument("--task", choices=CLASSES, default=CLASSIFICATION)
    parser.add_argument("--layers", type=int, default=50, help="layers of the ResNet (default: 50)")
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    arguments = parser.parse_args()
    threads.set_threads()  # before MXNet is loaded
    from train.gluon import onnx
    from train.weights import native

    task, side = arguments.task, SIDES[arguments.task]
    name, net, symbol, outputs = _network(task, arguments.layers)
    arguments.out.mkdir(parents=True, exist_ok=True)
    onnx.export(symbol, native.parameters(net), "data", (3, side, side), arguments.out / MODEL_ONNX, outputs)
    resize, rule, output = _RULES[task]
    spec = InputSpec("data", 3, side, side, resize, rule, _MEAN, _STD)
    names = tuple(str(number) for number in range(CLASSES[task]))
    # A trained network has few scores above its score floor. With random weights, none exceeds 0.5, so NMS is cheap.
    nms = Nms(0.45, 400, 0.5) if task == DETECTION else None
    write(Artifact(task, name, names, spec, output, nms=nms), arguments.out)


def _network(task: str, layers: int) -> tuple[str, "gluon.HybridBlock", "sym.Symbol", tuple[str, ...]]:
    """Return a network's name, the network, the symbol to export, and the names of its outputs."""
    import mxnet as mx

    from train.classification.predictions import OUTPUT
    from train.image_classification import network
    from train.object_detection import network as detector
    from train.semantic_segmentation import network as segmenter

    data, classes, side = mx.sym.var("data"), CLASSES[task], SIDES[task]
    net: Any
    if task == CLASSIFICATION:
        net = network.build(layers, classes, 3, seed=0)
        return network.name(layers), net, mx.sym.softmax(net(data), name=OUTPUT), (OUTPUT,)
    if task == DETECTION:
        net = detector.build(f"resnet-{layers}", classes, side, 0)
        return f"ssd_{side}_resnet{layers}", net, mx.sym.Group(list(net(data))), ("scores", "boxes")
    net = segmenter.build("fcn", f"resnet-{layers}", classes, 0)
    return f"fcn_resnet{layers}", net, segmenter.InferenceNet(net, side, plain=True)(data), ("logits",)


if __name__ == "__main__":
    main()
