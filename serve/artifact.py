"""The artifact: the folder that `train` writes and `serve` reads, model.json beside model.onnx.

Standard library only, so that every environment can read and write it.
"""

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeGuard, TypeVar

from serve.words import plural

FORMAT_VERSION = 1
MODEL_JSON = "model.json"
MODEL_ONNX = "model.onnx"
MODEL_INT8 = "model.int8.onnx"
"""The same network in integers, beside the float graph; see Quantization."""
EARLIER = ".earlier-model"
"""Where a job in the folder of an earlier one keeps that one's model while it has none of its own."""

CLASSIFICATION, DETECTION, SEGMENTATION = "image-classification", "object-detection", "semantic-segmentation"
TENSORS = "tensors"
"""The task of a model that a user's own script left: any arrays in, any out; see serve.user_model.signature."""

OUTPUTS = {CLASSIFICATION: ("softmax", "sigmoid"), DETECTION: ("boxes",), SEGMENTATION: ("logits",)}
"""What the numbers of a task's model may be."""

FLOAT32, INT8 = "float32", "int8"
"""The precisions of a graph."""

TASKS = tuple(OUTPUTS)
# What a crop cuts off has no boxes and no mask: a detector sees the whole image, and so does a segmenter, whose masks
# would be bent by a stretch.
RULES = {CLASSIFICATION: ("crop", "stretch"), DETECTION: ("stretch",), SEGMENTATION: ("pad",)}
"""How a task's images may become its model's input; see InputSpec."""

SIDE_STEP = 8
"""A segmenter's input has a multiple of so many pixels a side."""
SEGMENTATION_CLASSES = (2, 254)
"""Fewest and most classes of a segmenter: a mask is 8 bits, and 255 in it means that the pixel does not count."""
MAX_TOP_K = 2000
"""Most candidates of a detector's NMS, which compares each with each: 4 million pairs, some 80 MB."""

COLOURS = {1: "L", 3: "RGB"}

T = TypeVar("T")


class ArtifactError(ValueError):
    """A model folder that cannot be used; the message names the file, the key and what to do."""


@dataclass(frozen=True)
class InputSpec:
    """What the graph's one input is and how an image becomes it.

    The input is float32 of shape (N, channels, height, width); value = (pixel / 255 - mean) / std per channel,
    channels in the order R, G, B (or luminance alone). Rule "crop": the shorter side becomes `resize` pixels, or as
    much more as it takes for height x width to fit inside, aspect kept; then the centre of height x width. Rule
    "stretch": to height x width, aspect ignored. Rule "pad": the longer side becomes `resize` pixels, aspect kept, at
    the top left of a square of that side, whose rest is 0.0 in the input, the mean colour; height = width = resize, a
    multiple of SIDE_STEP.
    """

    name: str
    channels: int
    height: int
    width: int
    resize: int
    rule: str
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Nms:
    """How a detector's raw answer becomes detections; see serve.tasks.detection.select.

    Of all (anchor, class) pairs with a score above `score_floor` the `top_k` best are candidates; of candidates of one
    class that overlap by an IoU above `threshold` the better one stays.
    """

    threshold: float
    top_k: int
    score_floor: float


@dataclass(frozen=True)
class Quantization:
    """What a job that was asked for an int8 graph has found: which graph `serves`, FLOAT32 or INT8, and its `report`.

    The weights of MODEL_INT8 have 7 bits with `reduce_range`. With all 8, processors without VNNI add its products up
    wrongly, so there the float graph serves.
    """

    serves: str
    reduce_range: bool
    report: dict[str, Any]


@dataclass(frozen=True)
class Artifact:
    """Everything a server must know about model.onnx.

    The graph's outputs, by task, for A anchors and class labels in the order of `class_names`:
    image-classification: `probabilities` float32 (N, classes), by `output` a softmax or one sigmoid for each class.
    object-detection: `scores` float32 (N, A, classes), softmax with the background, which is left out; `boxes` float32
    (N, A, 4), corners xmin, ymin, xmax, ymax as fractions of the input, not clipped. Rule "stretch", `nms` set.
    semantic-segmentation: `logits` float32 (N, classes, height / t, width / t), before the softmax, t of the network's
    choice; cell (i, j) covers the t x t pixels of the input from (t i, t j). Rule "pad", 2 to 254 classes.
    """

    task: str
    network: str
    class_names: tuple[str, ...]
    input: InputSpec
    output: str
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, Any] = field(default_factory=dict)
    nms: Nms | None = None
    quantization: Quantization | None = None


def write(artifact: Artifact, model_dir: Path) -> Path:
    """Write model.json into `model_dir` (made if missing), whole or not at all, and return its path.

    Raises ArtifactError for a description that `read` would refuse.
    """
    path = model_dir / MODEL_JSON
    described = {"format_version": FORMAT_VERSION, **asdict(artifact)}
    described["input"]["colour"] = COLOURS.get(artifact.input.channels)
    for key in ("nms", "quantization"):
        if described[key] is None:
            del described[key]
    return write_document(described, path, lambda written: _parse(written, path))


def write_document(described: Mapping[str, Any], path: Path, check: Callable[[Any], object]) -> Path:
    """Write a description to `path` as JSON, whole or not at all, after `check` of it; return the path.

    Raises ArtifactError for what JSON cannot hold, and what `check` raises.
    """
    try:
        text = json.dumps(described, indent=2, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"{path} cannot be written: {error}; give plain finite JSON values.") from error
    check(json.loads(text))
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text + "\n")
        os.chmod(temporary, 0o644)  # mkstemp makes it private; an endpoint may run as any user
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def read(model_dir: Path) -> Artifact:
    """Read and check the artifact in `model_dir`.

    Raises ArtifactError when model.json is missing, is not JSON, is of a newer format, lacks a key or holds a value
    that makes no sense, and when model.onnx, or an int8 graph that is to serve, is missing.
    """
    artifact = _parse(document(model_dir), model_dir / MODEL_JSON)
    require(model_dir, MODEL_ONNX)
    if artifact.quantization is not None and artifact.quantization.serves == INT8:
        require(model_dir, MODEL_INT8)
    return artifact


def document(model_dir: Path) -> Any:
    """Return what model.json in `model_dir` holds, unchecked. Raises ArtifactError when it is missing or not JSON."""
    path = model_dir / MODEL_JSON
    try:
        if path.exists() and not path.is_file():  # to read a pipe or a device may never end
            raise OSError("it is not a file")
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ArtifactError(f"{path} is missing: {_listing(model_dir)}. {_what_to_serve(model_dir)}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path} cannot be read: {error}. Make it readable, or train again.") from error
    except json.JSONDecodeError as error:
        raise ArtifactError(f"{path} is not JSON: {error}. Restore the file that `train` wrote.") from error
    except (RecursionError, ValueError) as error:
        what = "is nested too deeply" if isinstance(error, RecursionError) else "has a number of too many digits"
        raise ArtifactError(f"{path} {what}. Restore the file that `train` wrote.") from error


def _what_to_serve(folder: Path) -> str:
    if (folder / "model.tar.gz").exists():
        return f"Unpack the archive: tar xzf model.tar.gz -C {folder}."
    if (folder / EARLIER).exists():
        return f"The last job in this folder left no model; move that of the job before back, from {folder / EARLIER}."
    return "Put there what a model.tar.gz of these images' `train` holds, or a script's model.keras or SavedModel."


def require(model_dir: Path, name: str) -> None:
    """Raise ArtifactError when the file `name` is not in `model_dir`."""
    if not (model_dir / name).is_file():
        raise ArtifactError(f"{model_dir / name} is missing beside {MODEL_JSON}: {_listing(model_dir)}.")


def _listing(folder: Path) -> str:
    if not folder.is_dir():
        return "the folder does not exist"
    names = sorted(entry.name for entry in folder.iterdir())
    return f"the folder holds {', '.join(names[:10])}" if names else "the folder is empty"


def versioned(document: Any, path: Path) -> "Values":
    """Return the getters of a description. Raises ArtifactError when its format is not the one that we read."""
    values = Values(document, path, "")
    version = values.get("format_version", int)
    if version != FORMAT_VERSION:
        raise ArtifactError(
            f"{path}: format_version is {version}, this server reads {FORMAT_VERSION}. "
            "Use the image version that trained the model, or a newer one."
        )
    return values


def _parse(document: Any, path: Path) -> Artifact:
    values = versioned(document, path)
    names = values.get("class_names", list)
    if not names or not all(isinstance(name, str) for name in names):
        raise ArtifactError(f"{path}: class_names must be a list of at least one text, not {names!r:.80}.")
    task = values.one_of("task", TASKS)
    fewest, most = SEGMENTATION_CLASSES
    if task == SEGMENTATION and not fewest <= len(names) <= most:
        raise ArtifactError(
            f"{path}: class_names has {plural(len(names), 'name')}, the task {task} has {fewest} to {most}."
        )
    return Artifact(
        task=task,
        network=values.get("network", str),
        class_names=tuple(names),
        input=_parse_input(Values(values.get("input", dict), path, "input."), task),
        output=values.one_of("output", OUTPUTS[task]),
        hyperparameters=values.get("hyperparameters", dict),
        metrics=values.get("metrics", dict),
        versions=values.get("versions", dict),
        nms=_parse_nms(values, path, task),
        quantization=_parse_quantization(document, path),
    )


def _parse_nms(values: "Values", path: Path, task: str) -> Nms | None:
    if task != DETECTION:
        values.absent("nms", task)
        return None
    nms = Values(values.get("nms", dict), path, "nms.")
    return Nms(
        threshold=nms.number("threshold", 0, 1),
        top_k=nms.whole("top_k", 1, MAX_TOP_K),
        score_floor=nms.number("score_floor", 0, 1),
    )


def _parse_quantization(document: Mapping[str, Any], path: Path) -> Quantization | None:
    if "quantization" not in document:
        return None
    values = Values(document["quantization"], path, "quantization.")
    return Quantization(
        serves=values.one_of("serves", (FLOAT32, INT8)),
        reduce_range=values.flag("reduce_range"),
        report=values.get("report", dict),
    )


def _parse_input(values: "Values", task: str) -> InputSpec:
    channels = values.one_of("channels", tuple(COLOURS))
    values.one_of("colour", (COLOURS[channels],))
    spec = InputSpec(
        name=values.get("name", str),
        channels=channels,
        height=values.size("height"),
        width=values.size("width"),
        resize=values.size("resize"),
        rule=values.one_of("rule", RULES[task]),
        # Pixels are from 0 to 1: within these ends every value of the input is a finite float32.
        mean=values.per_channel("mean", channels, -1000, 1000),
        std=values.per_channel("std", channels, 1e-6, 1000),
    )
    if spec.rule == "crop" and spec.resize < min(spec.height, spec.width):
        values.refuse("resize", spec.resize, f"at least {min(spec.height, spec.width)}, the crop's smaller side")
    if spec.rule == "pad":
        if spec.resize % SIDE_STEP:
            values.refuse("resize", spec.resize, f"a multiple of {SIDE_STEP}")
        for key, side in (("height", spec.height), ("width", spec.width)):
            if side != spec.resize:
                values.refuse(key, side, f"{spec.resize}, as resize is")
    return spec


class Values:
    """A JSON object whose getters name the file and the key in every error."""

    def __init__(self, document: Any, path: Path, prefix: str) -> None:
        if not isinstance(document, Mapping):
            raise ArtifactError(f"{path} must hold a JSON object, not {document!r:.80}.")
        self._document, self._path, self._prefix = document, path, prefix

    def refuse(self, key: str, value: Any, wanted: str) -> NoReturn:
        raise ArtifactError(f"{self._path}: {self._prefix}{key} is {value!r:.80}, it must be {wanted}.")

    def present(self, key: str) -> Any:
        if key not in self._document:
            raise ArtifactError(f"{self._path}: the key {self._prefix}{key} is missing. Train again to write it.")
        return self._document[key]

    def get(self, key: str, kind: type[T]) -> T:
        value = self.present(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            self.refuse(key, value, f"of type {kind.__name__}")
        return value

    def flag(self, key: str) -> bool:
        value = self.present(key)
        if not isinstance(value, bool):
            self.refuse(key, value, "true or false")
        return value

    def one_of(self, key: str, allowed: tuple[T, ...]) -> T:
        value = self.get(key, type(allowed[0]))
        if value not in allowed:
            self.refuse(key, value, " or ".join(repr(choice) for choice in allowed))
        return value

    def size(self, key: str) -> int:
        value = self.get(key, int)
        if value < 1:
            self.refuse(key, value, "a number of pixels, 1 or more")
        return value

    def number(self, key: str, low: float, high: float) -> float:
        value = self.present(key)
        if not _is_number(value) or not low <= value <= high:
            self.refuse(key, value, f"a number from {low} to {high}")
        return value

    def whole(self, key: str, low: int, high: int) -> int:
        value = self.present(key)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self.refuse(key, value, f"a whole number from {low} to {high}")
        return value

    def absent(self, key: str, task: str) -> None:
        if key in self._document:
            self.refuse(key, self._document[key], f"left out: the task is {task}")

    def per_channel(self, key: str, channels: int, low: float, high: float) -> tuple[float, ...]:
        value = self.get(key, list)
        if len(value) != channels or not all(_is_number(item) and low <= item <= high for item in value):
            self.refuse(key, value, f"a list of {channels} numbers from {low:g} to {high:g}, one for each channel")
        return tuple(float(item) for item in value)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
