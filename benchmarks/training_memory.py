"""Prints how much GPU memory each network needs for training, for the table in docs/instances.md.

    .venvs/mxnet/bin/python -m benchmarks.training_memory     (from the repository's root; 3 minutes)

This does not need a GPU. Before MXNet computes, it plans the memory for all intermediate results and gradients, in the
same way for all devices, and reports the total. Its slope over the batch size is the memory per sample. The weights,
their gradients and the optimizer's momentum do not depend on the batch size.
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
"""Memory in GB. The difference from GiB is smaller than _FREE."""
_FREE = 2.5
"""GB left free for CUDA's context, library code and cuDNN's workspace, for which MXNet allows up to 1 GB."""


def networks() -> Iterator[tuple[str, int, gluon.HybridBlock]]:
    """Yield the rows of the table: the network's name, the side of its images in pixels, and the network."""
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
    """Return the memory in MB per sample, and the memory that does not depend on the batch size."""
    outputs = net(mx.sym.var("data"))
    symbol = mx.sym.Group(list(outputs)) if isinstance(outputs, list | tuple) else outputs
    gradients = {name: "null" if name == "data" else "write" for name in symbol.list_arguments()}
    planned = []
    for batch in _BATCHES:
        executor = symbol.simple_bind(ctx=mx.cpu(), grad_req=gradients, data=(batch, 3, side, side))
        match = re.search(r"Total (\d+) MB allocated", executor.debug_str())
        assert match, executor.debug_str()[-200:]
        planned.append(int(match[1]))
    weights = sum(array.size for name, array in executor.arg_dict.items() if name != "data") * 4 / 1e6
    return (planned[1] - planned[0]) / (_BATCHES[1] - _BATCHES[0]), 3 * weights


def main() -> None:
    """Print the table."""
    print("| network | pixels | MB per sample | MB fixed | " + " | ".join(f"{card} GB" for card in _CARDS) + " |")
    print("|---" * (4 + len(_CARDS)) + "|")
    for name, side, net in networks():
        per_sample, fixed = needed(net, side)
        largest = [int(((card - _FREE) * 1000 - fixed) / per_sample) for card in _CARDS]
        print(
            f"| {name} | {side} | {per_sample:.0f} | {fixed:.0f} | " + " | ".join(map(str, largest)) + " |", flush=True
        )


if __name__ == "__main__":
    main()
