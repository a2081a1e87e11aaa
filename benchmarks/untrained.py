"""Writes an artifact of random weights, for measurements in which only the size of the network counts.

.venvs/mxnet/bin/python -m benchmarks.untrained --layers 50 --out DIR
"""

import argparse
from pathlib import Path

from serve.artifact import MODEL_ONNX, Artifact, InputSpec, write
from train.job import threads

CLASSES = 1000
SIDE = 224


def main() -> None:
    """Write DIR/model.onnx and DIR/model.json: a ResNet of 1000 classes at 224 pixels."""
    parser = argparse.ArgumentParser(prog="benchmarks.untrained", description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=50, help="num_layers of image-classification (default: 50)")
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    arguments = parser.parse_args()
    threads.set_threads()
    # After the thread variables, which are read when these are loaded.
    import mxnet as mx

    from train.classification.answers import OUTPUT
    from train.gluon import onnx
    from train.image_classification import network

    net = network.build(arguments.layers, CLASSES, 3, seed=0)
    parameters = {f"arg:{name}": value.data() for name, value in net.collect_params().items()}
    symbol = mx.sym.softmax(net(mx.sym.var("data")), name=OUTPUT)
    arguments.out.mkdir(parents=True, exist_ok=True)
    onnx.export(symbol, parameters, "data", (3, SIDE, SIDE), arguments.out / MODEL_ONNX, (OUTPUT,))
    spec = InputSpec("data", 3, SIDE, SIDE, 256, "crop", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    names = tuple(str(number) for number in range(CLASSES))
    write(Artifact("image-classification", network.name(arguments.layers), names, spec, "softmax"), arguments.out)


if __name__ == "__main__":
    main()
