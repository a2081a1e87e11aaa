"""Which values of an image a model takes: found in its graph, in what it does to pixels before the first weights.

Nearly every tutorial of Keras begins its model with Rescaling(1/255). Such a model, sent 0..1, sees black.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.eager import wrap_function
from tensorflow.python.framework import convert_to_constants

log = logging.getLogger("serve")

_WEIGHTS = ("Conv2D", "DepthwiseConv2dNative", "MatMul", "BatchMatMulV2", "Einsum")
"""Operations that mix pixels with weights: where preprocessing ends."""
_SIZES = ("Shape", "ShapeN", "Size", "Rank")
"""Operations that read how large an image is and none of its pixels."""

Evaluate = Callable[[Sequence[tf.Tensor], NDArray[np.float32]], Sequence[Any]]
"""Tensors of a graph, and what to send it as an image -> their values."""

_FLAT = 0.1  # a photo of 0..1 spans at least this much after every known scaling, one of 0..255 shrunk to it less
_FAR = 10.0  # beyond 0..1 and -1..1, and below every mean of photos of 0..255


def of_function(function: Any) -> str:
    """What values of an image the one input of a signature's function takes: one of IMAGE_RANGES, "" if it is not said.

    The input is of floats, (batch, height, width, channels) or with channels first, sides fixed.
    """
    with _unless_it_fails():
        # Keras calls its layers in functions inside functions. Variables stay what they are: frozen, a model with
        # augmentation could not be, as its random numbers have a state.
        graph_def = convert_to_constants._run_inline_graph_optimization(function, False, False)
        names = [tensor.name for tensor in function.inputs]
        outputs = [tensor.name for tensor in function.outputs]
        flat = wrap_function.function_from_graph_def(graph_def, names, outputs)
        inputs = [flat.graph.as_graph_element(name) for name in names]

        def evaluate(wanted: Sequence[tf.Tensor], pixels: NDArray[np.float32]) -> Any:
            return flat.prune(inputs, wanted)(tf.constant(pixels, inputs[0].dtype), *function.captured_inputs)

        return _found(inputs[0], outputs, evaluate)
    return ""


def of_session(session: Any, image: tf.Tensor, outputs: Collection[str]) -> str:
    """The same of a graph in a session of TensorFlow 1: of the input `image` for outputs of these names."""
    with _unless_it_fails():
        return _found(image, outputs, lambda wanted, pixels: session.run(wanted, {image: pixels}))
    return ""


@contextmanager
def _unless_it_fails() -> Iterator[None]:
    """Go on without a finding when TensorFlow fails on the graph, and log why: the model can be served all the same."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - of any kind, by what the graph holds
        log.warning("What values of an image the model takes could not be found in its graph: %s", error)


def _found(image: tf.Tensor, outputs: Collection[str], evaluate: Evaluate) -> str:
    """Send images of one value each through the preprocessing, and judge by what comes out of it."""
    wanted = _preprocessed(image, outputs)
    shape = [1, *image.shape[1:]]
    black, one, white = (
        [np.asarray(value, np.float64) for value in evaluate(wanted, np.full(shape, level, np.float32))]
        for level in (0, 1, 255)
    )
    said = {_judged(*values) for values in zip(black, one, white, strict=True)} - {""}
    return said.pop() if len(said) == 1 else ""


def _preprocessed(image: tf.Tensor, outputs: Collection[str]) -> list[tf.Tensor]:
    """The tensors of floats that hang on the image and go into the first weights, or come out of the graph before."""
    seen, found, line = {image.name}, {}, [image]
    while line:
        tensor = line.pop()
        users = tensor.consumers()
        if tensor.name in outputs or any(user.type in _WEIGHTS for user in users):
            found[tensor.name] = tensor
        for user in users:
            if user.type not in (*_WEIGHTS, *_SIZES):
                line += [output for output in user.outputs if output.name not in seen]
                seen |= {output.name for output in user.outputs}
    return [tensor for tensor in found.values() if tensor.dtype.is_floating]


def _judged(black: NDArray[np.float64], one: NDArray[np.float64], white: NDArray[np.float64]) -> str:
    """What range a preprocessing was made for that makes these of images of 0, 1 and 255; "" for none in particular.

    A scaling, slope x value + offset, brings the pixels that it is made for into the order of 1 around 0, or takes
    their mean from them. It may differ a little by channel, and a border may have been added: the median counts.
    """
    slope, offset = float(np.median(one - black)), float(np.median(black))
    straight = np.allclose(white - black, 255 * (one - black), rtol=0.01, atol=0.01)
    if not straight or slope == 0:
        return ""
    if abs(slope) < _FLAT or abs(offset / slope) > _FAR:
        return "0..255"
    if abs(offset / slope - 1) < 0.01:  # -1 becomes 0
        return "-1..1"
    return "" if abs(slope - 1) < 0.01 and abs(offset) < 0.01 else "0..1"
