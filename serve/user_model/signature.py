"""The description of a model of the task `tensors`: what arrays its signatures take and give.

A user's own script leaves such a model. Standard library only, as serve.artifact, whose model.json this is a kind of.
"""

import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from serve import artifact
from serve.artifact import FORMAT_VERSION, MODEL_JSON, TENSORS, Values

STRING = "string"
DTYPES = (
    *("float16", "float32", "float64", "bool", STRING),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
)
"""Names of the element types, NumPy's but for text."""
DEFAULT = "serving_default"
"""The signature that is meant where none is named, as TensorFlow Serving has it."""
IMAGE_RANGES = ("0..1", "-1..1", "0..255")
"""Values that an image's pixels may have in an input of floats."""

_GRAPH = re.compile(r"[\w-][\w.-]*\.onnx")


@dataclass(frozen=True)
class Tensor:
    """An array that goes in or comes out: its name, element type, and shape; None is a side, or a rank, of any size."""

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None

    @property
    def image(self) -> tuple[int, int, int] | None:
        """Channels, height and width, where an image's pixels can be this input; None for any other array."""
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
    """A function of the model. `graph` is its ONNX file beside model.json, "" under TensorFlow.

    `image_values` is the one of IMAGE_RANGES that its one input takes, "" where the graph does not tell.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    graph: str = ""
    image_values: str = ""

    def __str__(self) -> str:
        return f"{', '.join(map(str, self.inputs))} -> {', '.join(map(str, self.outputs))}"


@dataclass(frozen=True)
class TensorModel:
    """A model by its signatures. `network` says what it was made from, such as `SavedModel model/1`."""

    network: str
    signatures: dict[str, Signature]
    versions: dict[str, Any] = field(default_factory=dict)

    @property
    def default(self) -> str | None:
        """The name of the signature that is meant where a request names none; None when it has to name one."""
        if DEFAULT in self.signatures:
            return DEFAULT
        return next(iter(self.signatures)) if len(self.signatures) == 1 else None

    def __str__(self) -> str:
        return f"{TENSORS} {self.network}, " + "; ".join(f"{name}: {one}" for name, one in self.signatures.items())


def shape_text(shape: tuple[int | None, ...] | None) -> str:
    """A shape as people write it: `(any, 128, 128, 3)`."""
    if shape is None:
        return "of any shape"
    sides = ["any" if side is None else str(side) for side in shape]
    return f"({', '.join(sides)}{',' * (len(sides) == 1)})"


def write(model: TensorModel, model_dir: Path) -> Path:
    """Write model.json into `model_dir`, whole or not at all, and return its path.

    Raises ArtifactError for a description that `read` would refuse.
    """
    path = model_dir / MODEL_JSON
    described = {"format_version": FORMAT_VERSION, "task": TENSORS, **asdict(model)}
    return artifact.write_document(described, path, lambda written: _parse(written, path))


def read(model_dir: Path) -> TensorModel:
    """Read and check the model.json in `model_dir`.

    Raises ArtifactError as serve.artifact.read does, and when the graph of a signature is missing.
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
        values.refuse("signatures", signatures, "one signature at least")
    return TensorModel(
        network=values.get("network", str),
        signatures={name: _parse_signature(one, path, f"signatures.{name}.") for name, one in signatures.items()},
        versions=values.get("versions", dict),
    )


def _parse_signature(document: Any, path: Path, prefix: str) -> Signature:
    values = Values(document, path, prefix)
    graph = values.get("graph", str)
    if not _GRAPH.fullmatch(graph):
        values.refuse("graph", graph, "the name of an .onnx file beside model.json")
    inputs, outputs = (
        tuple(_parse_tensor(one, path, f"{prefix}{key}.") for one in values.get(key, list))
        for key in ("inputs", "outputs")
    )
    if not outputs:
        values.refuse("outputs", [], "one tensor at least")
    told = "image_values" in document  # earlier versions did not write it
    return Signature(inputs, outputs, graph, values.one_of("image_values", ("", *IMAGE_RANGES)) if told else "")


def _parse_tensor(document: Any, path: Path, prefix: str) -> Tensor:
    values = Values(document, path, prefix)
    shape = values.present("shape")
    sides = shape if isinstance(shape, list) else []
    if (shape is not sides and shape is not None) or any(not _is_side(side) for side in sides):
        values.refuse("shape", shape, "null, or a list of sides of 0 or more, null for any")
    dtype = values.one_of("dtype", DTYPES)
    return Tensor(values.get("name", str), dtype, None if shape is None else tuple(sides))


def _is_side(side: Any) -> bool:
    return side is None or (isinstance(side, int) and not isinstance(side, bool) and side >= 0)


def task(model_dir: Path) -> str:
    """The task that model.json in `model_dir` names, "" for none. Raises ArtifactError when it cannot be read."""
    document = artifact.document(model_dir)
    named = document.get("task") if isinstance(document, dict) else None
    return named if isinstance(named, str) else ""
