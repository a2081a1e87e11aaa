"""The ONNX graph of a trained network, as the server takes it: its inputs, outputs and batch."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx

BATCH = "N"  # the first axis of the input and of every output: any
# The oldest operators that a graph is taken to hold. MXNet's exporter writes them as opset 13 has them, whatever number
# it puts on the graph; before that, Softmax and others mean something else.
_OLDEST = 13


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

    The batch, the first axis of the input `input_name` and of every output, is left free, and the graph states the
    lowest opset that holds its operators. Raises ValueError for an input besides that one and the weights, such as a
    layer's constants that the exporter has not written.
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
    lower_opset(model)


def lower_opset(model: "onnx.ModelProto") -> None:
    """State the lowest opset, not below 13, in which all nodes are the operators that they are in the graph's own.

    And the lowest version of the format that goes with it. Older runtimes then take the graph.
    """
    import onnx

    (own,) = (each for each in model.opset_import if each.domain == "")
    nodes = [node for node in model.graph.node if node.domain == ""]
    for version in range(_OLDEST, own.version):
        if all(_is_same(node, version, own.version) for node in nodes):
            own.version = version
            break
    model.ir_version = min(model.ir_version, onnx.helper.find_min_ir_version_for(model.opset_import))


def _is_same(node: "onnx.NodeProto", old: int, new: int) -> bool:
    """Return whether a node means the same in opset `old` as in `new`, as far as the operators' schemas say.

    A later operator differs from an earlier one by types that it takes, which the checker knows of, or by attributes
    and inputs: the node has none that are new, and none whose default has changed.
    """
    from onnx import defs

    try:
        before, now = (defs.get_schema(node.op_type, version, "") for version in (old, new))
    except defs.SchemaError:  # there was no such operator
        return False
    given = {attribute.name for attribute in node.attribute}
    defaults = [
        {name: each.default_value for name, each in schema.attributes.items() if name not in given}
        for schema in (before, now)
    ]
    kept = defaults[0].keys() & defaults[1].keys()
    return (
        given <= before.attributes.keys()
        and all(defaults[0][name] == defaults[1][name] for name in kept)
        and before.min_input <= len(node.input) <= before.max_input
        and before.min_output <= len(node.output) <= before.max_output
    )


def _keep(field: Any, wanted: Callable[[Any], bool]) -> None:
    kept = [value for value in field if wanted(value)]
    del field[:]
    field.extend(kept)
