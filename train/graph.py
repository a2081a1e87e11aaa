"""Prepare a network's ONNX graph for the server: inputs, outputs, batch dimension and opset."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx

BATCH = "N"  # the dynamic first dimension of the input and of every output
# The lowest opset to declare. MXNet's exporter writes operators as in opset 13, whatever version it declares; before
# opset 13, Softmax and others have a different meaning.
_OLDEST = 13


@contextmanager
def quiet(logger: logging.Logger) -> Iterator[None]:
    """Suppress the logger's messages below warnings."""
    level = logger.level
    logger.setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        logger.setLevel(level)


def tidy(model: "onnx.ModelProto", input_name: str, outputs: Sequence[str]) -> None:
    """Remove the weights from an ONNX graph's inputs, so that ONNX Runtime can fold them, and name the outputs.

    Also make the first dimension of the input `input_name` and of every output dynamic, and declare the lowest opset
    that has the graph's operators. Raises ValueError for any further input, such as a layer's constants that the
    exporter did not write.
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
    """Declare the lowest opset, not below 13, in which all nodes keep their meaning, and the lowest IR version for it.

    This lets older runtimes load the graph.
    """
    import onnx

    (opset,) = (entry for entry in model.opset_import if entry.domain == "")
    nodes = [node for node in model.graph.node if node.domain == ""]
    for version in range(_OLDEST, opset.version):
        if all(_is_same(node, version, opset.version) for node in nodes):
            opset.version = version
            break
    model.ir_version = min(model.ir_version, onnx.helper.find_min_ir_version_for(model.opset_import))


def _is_same(node: "onnx.NodeProto", old: int, new: int) -> bool:
    """Return whether a node means the same in opset `old` as in `new`, according to the operators' schemas.

    A newer version of an operator may accept more types, which the ONNX checker verifies, or have new attributes and
    inputs. The node must not use new ones, nor rely on a default that changed.
    """
    from onnx import defs

    try:
        before, now = (defs.get_schema(node.op_type, version, "") for version in (old, new))
    except defs.SchemaError:  # the operator did not exist
        return False
    used = {attribute.name for attribute in node.attribute}
    defaults = [
        {name: attribute.default_value for name, attribute in schema.attributes.items() if name not in used}
        for schema in (before, now)
    ]
    kept = defaults[0].keys() & defaults[1].keys()
    return (
        used <= before.attributes.keys()
        and all(defaults[0][name] == defaults[1][name] for name in kept)
        and before.min_input <= len(node.input) <= before.max_input
        and before.min_output <= len(node.output) <= before.max_output
    )


def _keep(field: Any, is_kept: Callable[[Any], bool]) -> None:
    kept = [value for value in field if is_kept(value)]
    del field[:]
    field.extend(kept)
