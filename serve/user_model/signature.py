"""The description of a model of the task `tensors`: the inputs and outputs of its signatures.

Such a model comes from a user's script. The description is a variant of model.json in serve.artifact. Standard library
only.
"""

import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from serve import artifact
from serve.artifact import FORMAT_VERSION, MODEL_JSON, TENSORS, Values

STRING = "string"
_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
DTYPES = ("float16", "float32", "float64", "bool", STRING, *_INTEGERS)
"""Names of the element types, the same as in NumPy except for text."""
DEFAULT = "serving_default"
"""The default signature, as in TensorFlow Serving."""
IMAGE_RANGES = ("0..1", "-1..1", "0..255")
"""Possible ranges of pixel values in a float input."""

_GRAPH = re.compile(r"[\w-][\w.-]*\.onnx")


@dataclass(frozen=True)
class Tensor:
    """An input or output: name, element type, and shape. None as a length means any length, as the shape any rank."""

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None

    @property
    def image(self) -> tuple[int, int, int] | None:
        """Channels, height and width if this input can be an image's pixels, else None."""
        if self.dtype not in ("float32", "float16", "float64", "uint8") or self.shape is None or len(self.shape) != 4:
            return None
        batch, first, middle, last = self.shape
        if batch not in (None, 1) or first is None or middle is None or last is None:
            return None
        if last in (1, 3):
            return last, first, middle
        return (first, middle, last) if first in (1, 3) else None

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} {shape_text(self.shape)}"


@dataclass(frozen=True)
class Signature:
    """A function of the model. `graph` is its ONNX file next to model.json, or "" with TensorFlow.

    `image_values` is the range of its only input, one of IMAGE_RANGES, or "" if it is unknown.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    graph: str = ""
    image_values: str = ""

    def __str__(self) -> str:
        return f"{', '.join(map(str, self.inputs))} -> {', '.join(map(str, self.outputs))}"


@dataclass(frozen=True)
class TensorModel:
    """A model and its signatures. `network` names its source, such as `SavedModel model/1`."""

    network: str
    signatures: dict[str, Signature]
    versions: dict[str, Any] = field(default_factory=dict)

    @property
    def default(self) -> str | None:
        """The signature for requests that do not name one; None if requests must name one."""
        if DEFAULT in self.signatures:
            return DEFAULT
        return next(iter(self.signatures)) if len(self.signatures) == 1 else None

    def __str__(self) -> str:
        signatures = "; ".join(f"{name}: {signature}" for name, signature in self.signatures.items())
        return f"{TENSORS} {self.network}, {signatures}"


def shape_text(shape: tuple[int | None, ...] | None) -> str:
    """Return a shape in readable form, such as `(any, 128, 128, 3)`."""
    if shape is None:
        return "of any shape"
    sides = ["any" if side is None else str(side) for side in shape]
    return f"({sides[0]},)" if len(sides) == 1 else f"({', '.join(sides)})"


def write(model: TensorModel, model_dir: Path) -> Path:
    """Write model.json atomically into `model_dir`, and return its path.

    Raises ArtifactError if `read` would reject the model.
    """
    path = model_dir / MODEL_JSON
    document = {"format_version": FORMAT_VERSION, "task": TENSORS, **asdict(model)}
    return artifact.write_document(document, path, lambda written: _parse(written, path))


def read(model_dir: Path) -> TensorModel:
    """Read and check the model.json in `model_dir`.

    Raises ArtifactError like serve.artifact.read, and if the graph of a signature is missing.
    """
    model = _parse(artifact.document(model_dir), model_dir / MODEL_JSON)
    for signature in model.signatures.values():
        artifact.require(model_dir, signature.graph)
    return model


def _parse(document: Any, path: Path) -> TensorModel:
    values = artifact.versioned(document, path)
    values.one_of("task", (TENSORS,))
    signatures = values.get("signatures", dict)
    if not signatures:
        values.refuse("signatures", signatures, "an object with at least one signature")
    return TensorModel(
        network=values.get("network", str),
        signatures={name: _parse_signature(value, path, f"signatures.{name}.") for name, value in signatures.items()},
        versions=values.get("versions", dict),
    )


def _parse_signature(document: Any, path: Path, prefix: str) -> Signature:
    values = Values(document, path, prefix)
    graph = values.get("graph", str)
    if not _GRAPH.fullmatch(graph):
        values.refuse("graph", graph, "the name of an .onnx file next to model.json")
    inputs, outputs = (
        tuple(_parse_tensor(value, path, f"{prefix}{key}.") for value in values.get(key, list))
        for key in ("inputs", "outputs")
    )
    if not outputs:
        values.refuse("outputs", [], "a list of at least one tensor")
    if "image_values" not in document:  # written by an earlier version
        return Signature(inputs, outputs, graph)
    return Signature(inputs, outputs, graph, values.one_of("image_values", ("", *IMAGE_RANGES)))


def _parse_tensor(document: Any, path: Path, prefix: str) -> Tensor:
    values = Values(document, path, prefix)
    shape = values.present("shape")
    sides = shape if isinstance(shape, list) else []
    if (shape is not sides and shape is not None) or any(not _is_side(side) for side in sides):
        values.refuse("shape", shape, "null, or a list of lengths of 0 or more, with null for any length")
    dtype = values.one_of("dtype", DTYPES)
    return Tensor(values.get("name", str), dtype, None if shape is None else tuple(sides))


def _is_side(side: Any) -> bool:
    return side is None or (isinstance(side, int) and not isinstance(side, bool) and side >= 0)


def task(model_dir: Path) -> str:
    """Return the task in the model.json in `model_dir`, or "". Raises ArtifactError if the file cannot be read."""
    document = artifact.document(model_dir)
    value = document.get("task") if isinstance(document, dict) else None
    return value if isinstance(value, str) else ""
