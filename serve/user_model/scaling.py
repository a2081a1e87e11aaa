"""Finds the range of pixel values that a model expects, from how its graph scales pixels before the first weights.

Almost every Keras tutorial starts its model with Rescaling(1/255). If such a model gets pixels of 0..1, it sees black.
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
"""Operations that combine pixels with weights. Preprocessing ends there."""
_SIZES = ("Shape", "ShapeN", "Size", "Rank")
"""Operations that read the size of an image, but not its pixels."""

Evaluate = Callable[[Sequence[tf.Tensor], NDArray[np.float32]], Sequence[Any]]
"""Returns the values of some tensors of a graph for an input image."""

_MIN_SLOPE = 0.1  # scalings of 0..1 have a larger slope, and those that reduce 0..255 to 0..1 have a smaller one
_MAX_OFFSET = 10.0  # in pixel values: larger than for 0..1 and -1..1, smaller than the means of 0..255 photos


def of_function(function: Any) -> str:
    """Return the range of pixel values of a signature's only input: one of IMAGE_RANGES, or "" if it is unknown.

    The input is a float tensor of shape (batch, height, width, channels), or channels first, with fixed sides.
    """
    with _log_failure():
        # Inline Keras's nested functions. Do not freeze variables, because that fails for models with augmentation,
        # whose random number generators have state.
        graph_def = convert_to_constants._run_inline_graph_optimization(function, False, False)
        names = [tensor.name for tensor in function.inputs]
        outputs = [tensor.name for tensor in function.outputs]
        flat = wrap_function.function_from_graph_def(graph_def, names, outputs)
        inputs = [flat.graph.as_graph_element(name) for name in names]

        def evaluate(tensors: Sequence[tf.Tensor], pixels: NDArray[np.float32]) -> Any:
            return flat.prune(inputs, tensors)(tf.constant(pixels, inputs[0].dtype), *function.captured_inputs)

        return _range(inputs[0], outputs, evaluate)
    return ""


def of_session(session: Any, image: tf.Tensor, outputs: Collection[str]) -> str:
    """Like of_function, for the input `image` of a graph in a TensorFlow 1 session, with the names of its outputs."""
    with _log_failure():
        return _range(image, outputs, lambda tensors, pixels: session.run(tensors, {image: pixels}))
    return ""


@contextmanager
def _log_failure() -> Iterator[None]:
    """Log any failure of TensorFlow and continue, because the model can still be served."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - the type depends on the graph
        log.warning("The range of pixel values could not be determined from the model's graph: %s", error)


def _range(image: tf.Tensor, outputs: Collection[str], evaluate: Evaluate) -> str:
    """Send uniform images through the preprocessing and determine the range from the results."""
    tensors = _preprocessed(image, outputs)
    shape = [1, *image.shape[1:]]
    zeros, ones, whites = (
        [np.asarray(value, np.float64) for value in evaluate(tensors, np.full(shape, level, np.float32))]
        for level in (0, 1, 255)
    )
    ranges = {_range_of_scaling(*values) for values in zip(zeros, ones, whites, strict=True)} - {""}
    return ranges.pop() if len(ranges) == 1 else ""


def _preprocessed(image: tf.Tensor, outputs: Collection[str]) -> list[tf.Tensor]:
    """Return the preprocessed image: the float tensors that reach the first weights, or an output without any."""
    seen, ends, stack = {image.name}, {}, [image]
    while stack:
        tensor = stack.pop()
        users = tensor.consumers()
        if tensor.name in outputs or any(user.type in _WEIGHTS for user in users):
            ends[tensor.name] = tensor
        for user in users:
            if user.type not in (*_WEIGHTS, *_SIZES):
                stack += [output for output in user.outputs if output.name not in seen]
                seen |= {output.name for output in user.outputs}
    return [tensor for tensor in ends.values() if tensor.dtype.is_floating]


def _range_of_scaling(zero: NDArray[np.float64], one: NDArray[np.float64], white: NDArray[np.float64]) -> str:
    """Return the range that the preprocessing expects, from its results for images of 0, 1 and 255; "" if unknown.

    A scaling, slope x value + offset, maps the pixels that it expects to values of magnitude 1 around 0, or subtracts
    their mean. The median is used because channels may differ slightly and borders may have been added.
    """
    slope, offset = float(np.median(one - zero)), float(np.median(zero))
    linear = np.allclose(white - zero, 255 * (one - zero), rtol=0.01, atol=0.01)
    if not linear or slope == 0:
        return ""
    if abs(slope) < _MIN_SLOPE or abs(offset / slope) > _MAX_OFFSET:
        return "0..255"
    if abs(offset / slope - 1) < 0.01:  # the value -1 becomes 0
        return "-1..1"
    return "" if abs(slope - 1) < 0.01 and abs(offset) < 0.01 else "0..1"
