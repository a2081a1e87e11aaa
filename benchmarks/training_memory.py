"""The memory of a GPU that training needs, by network: the table in docs/instances.md. Runs in .venvs/mxnet, 3 minutes.

No GPU is asked. Before MXNet computes, it plans where every intermediate result and its gradient lie, by one algorithm
for all devices, and says how much that is: the slope over the batch is what a picture needs. Weights, their gradients,
and one more array for each that an optimizer with momentum keeps, do not depend on the batch.
"""

import re
from collections.abc import Iterator

import mxnet as mx
from mxnet import gluon

from train.image_classification import network as classification
from train.object_detection import network as detection
from train.semantic_segmentation import network as segmentation

_BATCHES = (2, 4)
_CARDS = (16, 24, 40)
"""GB, or GiB: the difference is within what is left free."""
_FREE = 2.5
"""GB left for CUDA's context, the libraries' code and cuDNN's scratch space, to which MXNet gives up to 1 GB."""


def networks() -> Iterator[tuple[str, int, gluon.HybridBlock]]:
    """Return rows of the table: the network's name, the side of its pictures in pixels, and itself."""
    for layers in (18, 34, 50, 101, 152):
        yield f"ResNet-{layers}", 224, classification.build(layers, 1000, 3, seed=0)
    for base, side in (("resnet-50", 300), ("resnet-50", 512), ("vgg-16", 300), ("vgg-16", 512)):
        yield f"SSD, {base}", side, detection.build(base, 20, side, seed=0).predictor
    for algorithm in ("fcn", "psp", "deeplab"):
        for side in (240, 480):
            net = segmentation.build(algorithm, "resnet-50", 21, seed=0)
            segmentation.set_map(net, side)
            yield f"{algorithm}, resnet-50", side, net


def needed(net: gluon.HybridBlock, side: int) -> tuple[float, float]:
    """Return MB for a picture of the batch, and MB that do not depend on it."""
    outputs = net(mx.sym.var("data"))
    symbol = mx.sym.Group(list(outputs)) if isinstance(outputs, list | tuple) else outputs
    wanted = {name: "null" if name == "data" else "write" for name in symbol.list_arguments()}
    planned = []
    for batch in _BATCHES:
        executor = symbol.simple_bind(ctx=mx.cpu(), grad_req=wanted, data=(batch, 3, side, side))
        found = re.search(r"Total (\d+) MB allocated", executor.debug_str())
        assert found, executor.debug_str()[-200:]
        planned.append(int(found[1]))
    weights = sum(array.size for name, array in executor.arg_dict.items() if name != "data") * 4 / 1e6
    return (planned[1] - planned[0]) / (_BATCHES[1] - _BATCHES[0]), 3 * weights


def main() -> None:
    """Print the table."""
    print("| network | pixels | MB per sample | MB fixed | " + " | ".join(f"{card} GB" for card in _CARDS) + " |")
    print("|---" * (4 + len(_CARDS)) + "|")
    for name, side, net in networks():
        picture, besides = needed(net, side)
        largest = [int(((card - _FREE) * 1000 - besides) / picture) for card in _CARDS]
        print(
            f"| {name} | {side} | {picture:.0f} | {besides:.0f} | " + " | ".join(map(str, largest)) + " |", flush=True
        )


if __name__ == "__main__":
    main()
