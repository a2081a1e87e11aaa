"""The ONNX graph of a trained network, as the server takes it: its inputs, outputs and batch."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx

BATCH = "N"  # the first axis of the input and of every output: any


@contextmanager
def quiet(logger: logging.Logger) -> Iterator[None]:
    """Let only warnings and errors through."""
    level = logger.level
    logger.setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        logger.setLevel(level)


def tidy(model: "onnx.ModelProto", input_name: str, outputs: Sequence[str]) -> None:
    """Take the weights out of an ONNX graph's inputs, where ONNX Runtime would not fold them, and name the outputs.

    The batch, the first axis of the input `input_name` and of every output, is left free. Raises ValueError for an
    input besides that one and the weights, such as a layer's constants that the exporter has not written.
    """
    graph = model.graph
    others = {value.name for value in graph.input} - {weight.name for weight in graph.initializer} - {input_name}
    if others:
        raise ValueError(f"the ONNX graph has inputs besides {input_name}: {', '.join(sorted(others))}")
    _keep(graph.input, lambda value: value.name == input_name)
    graph.input[0].type.tensor_type.shape.dim[0].dim_param = BATCH
    used = {name for node in graph.node for name in node.input}
    _keep(graph.initializer, lambda weight: weight.name in used)
    renamed = {value.name: name for value, name in zip(graph.output, outputs, strict=True)}
    for value in graph.output:
        value.name = renamed[value.name]
        value.type.tensor_type.shape.dim[0].dim_param = BATCH
    for node in graph.node:
        node.output[:] = [renamed.get(name, name) for name in node.output]
        node.input[:] = [renamed.get(name, name) for name in node.input]


def _keep(field: Any, wanted: Callable[[Any], bool]) -> None:
    kept = [value for value in field if wanted(value)]
    del field[:]
    field.extend(kept)
