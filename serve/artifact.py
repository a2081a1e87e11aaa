"""The artifact: the folder that `train` writes and `serve` reads, with model.json and model.onnx.

Standard library only, because every environment imports this module.
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
"""The same network quantized to 8-bit integers; see Quantization."""
EARLIER = ".earlier-model"
"""The folder in which a job keeps the previous job's model until it has saved its own."""

CLASSIFICATION, DETECTION, SEGMENTATION = "image-classification", "object-detection", "semantic-segmentation"
TENSORS = "tensors"
"""The task of a model that a user's script saved, with any arrays as input and output; see
serve.user_model.signature."""

OUTPUTS = {CLASSIFICATION: ("softmax", "sigmoid"), DETECTION: ("boxes",), SEGMENTATION: ("logits",)}
"""The kinds of output that a model can have, by task."""

FLOAT32, INT8 = "float32", "int8"
"""The precisions of a graph."""

TASKS = tuple(OUTPUTS)
# Detection and segmentation need the whole image, because a crop loses objects at the edges. Segmentation also keeps
# the aspect ratio, because stretching would distort its masks.
RULES = {CLASSIFICATION: ("crop", "stretch"), DETECTION: ("stretch",), SEGMENTATION: ("pad",)}
"""The resize rules that each task allows; see InputSpec."""

SIDE_STEP = 8
"""The sides of a segmentation model's input must be multiples of this many pixels."""
SEGMENTATION_CLASSES = (2, 254)
"""Minimum and maximum number of classes for segmentation: masks have 8 bits, and 255 marks ignored pixels."""
MAX_TOP_K = 2000
"""Maximum number of NMS candidates. All pairs are compared: 4 million, about 80 MB."""

COLOURS = {1: "L", 3: "RGB"}

T = TypeVar("T")


class ArtifactError(ValueError):
    """A model folder cannot be used. The message names the file, the key and the fix."""


@dataclass(frozen=True)
class InputSpec:
    """The graph's only input, and how to turn an image into it.

    The input is float32 of shape (N, channels, height, width); value = (pixel / 255 - mean) / std per channel, with
    channels in the order R, G, B, or a single luminance channel.

    - Rule "crop": resize the shorter side to `resize` pixels, or larger if height x width does not fit inside, keeping
      the aspect ratio; then crop height x width from the centre.
    - Rule "stretch": resize to height x width, ignoring the aspect ratio.
    - Rule "pad": resize the longer side to `resize` pixels, keeping the aspect ratio, and place the image at the top
      left of a square. The rest of the input is 0.0, the mean colour. height = width = resize, a multiple of SIDE_STEP.
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
    """Settings of non-maximum suppression; see serve.tasks.detection.select.

    The candidates are the `top_k` best (anchor, class) pairs with a score above `score_floor`. If two candidates of the
    same class overlap with an IoU above `threshold`, only the better one is kept.
    """

    threshold: float
    top_k: int
    score_floor: float


@dataclass(frozen=True)
class Quantization:
    """The result of quantization: which graph `serves`, FLOAT32 or INT8, and the `report` of the comparison.

    With `reduce_range`, the weights in MODEL_INT8 have 7 bits. With all 8 bits, sums of products overflow on processors
    without VNNI, so the float graph is served there.
    """

    serves: str
    reduce_range: bool
    report: dict[str, Any]


@dataclass(frozen=True)
class Artifact:
    """Everything a server must know about model.onnx.

    The graph's outputs by task, with classes in the order of `class_names` and A anchors:

    - image-classification: `probabilities` float32 (N, classes), a softmax or one sigmoid per class (see `output`).
    - object-detection: `scores` float32 (N, A, classes), a softmax that includes the background, with the background
      left out; `boxes` float32 (N, A, 4), corners xmin, ymin, xmax, ymax as fractions of the input, not clipped. Rule
      "stretch"; `nms` is set.
    - semantic-segmentation: `logits` float32 (N, classes, height / t, width / t), before the softmax. The network
      chooses the stride t; cell (i, j) covers t x t input pixels starting at (t i, t j). Rule "pad", 2 to 254 classes.
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
    """Write model.json atomically into `model_dir`, which is created if missing, and return its path.

    Raises ArtifactError if `read` would reject the artifact.
    """
    path = model_dir / MODEL_JSON
    document = {"format_version": FORMAT_VERSION, **asdict(artifact)}
    document["input"]["colour"] = COLOURS.get(artifact.input.channels)
    for key in ("nms", "quantization"):
        if document[key] is None:
            del document[key]
    return write_document(document, path, lambda written: _parse(written, path))


def write_document(document: Mapping[str, Any], path: Path, check: Callable[[Any], object]) -> Path:
    """Check `document` with `check`, write it atomically to `path` as JSON, and return the path.

    Raises ArtifactError for values that JSON cannot represent, and whatever `check` raises.
    """
    try:
        text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"{path} cannot be written: {error}; use plain finite JSON values.") from error
    check(json.loads(text))
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text + "\n")
        os.chmod(temporary, 0o644)  # mkstemp creates it private, and the server may run as another user
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def read(model_dir: Path) -> Artifact:
    """Read and check the artifact in `model_dir`.

    Raises ArtifactError if model.json is missing, is not JSON, has another format version, lacks a key or has an
    invalid value, or if the graph that should be served is missing.
    """
    artifact = _parse(document(model_dir), model_dir / MODEL_JSON)
    require(model_dir, MODEL_ONNX)
    if artifact.quantization is not None and artifact.quantization.serves == INT8:
        require(model_dir, MODEL_INT8)
    return artifact


def document(model_dir: Path) -> Any:
    """Return the unchecked content of model.json in `model_dir`. Raises ArtifactError if it is missing or not JSON."""
    path = model_dir / MODEL_JSON
    try:
        if path.exists() and not path.is_file():  # reading a pipe or a device may never end
            raise OSError("it is not a file")
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ArtifactError(f"{path} is missing: {_listing(model_dir)}. {_what_to_serve(model_dir)}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path} cannot be read: {error}. Make it readable, or train again.") from error
    except json.JSONDecodeError as error:
        raise ArtifactError(f"{path} is not JSON: {error}. Restore the file that `train` wrote.") from error
    except (RecursionError, ValueError) as error:
        problem = "is nested too deeply" if isinstance(error, RecursionError) else "has a number with too many digits"
        raise ArtifactError(f"{path} {problem}. Restore the file that `train` wrote.") from error


def _what_to_serve(folder: Path) -> str:
    if (folder / "model.tar.gz").exists():
        return f"Unpack the archive: tar xzf model.tar.gz -C {folder}."
    if (folder / EARLIER).exists():
        return f"The last job in this folder saved no model; move the earlier one back from {folder / EARLIER}."
    return "Unpack the model.tar.gz of a training job there, or add a script's model.keras or SavedModel."


def require(model_dir: Path, name: str) -> None:
    """Raise ArtifactError if the file `name` is not in `model_dir`."""
    if not (model_dir / name).is_file():
        raise ArtifactError(f"{model_dir / name}, which {MODEL_JSON} needs, is missing: {_listing(model_dir)}.")


def _listing(folder: Path) -> str:
    if not folder.is_dir():
        return "the folder does not exist"
    names = sorted(entry.name for entry in folder.iterdir())
    return f"the folder contains {', '.join(names[:10])}" if names else "the folder is empty"


def versioned(document: Any, path: Path) -> "Values":
    """Return typed getters for a parsed model.json. Raises ArtifactError if its format version is not supported."""
    values = Values(document, path, "")
    version = values.get("format_version", int)
    if version != FORMAT_VERSION:
        raise ArtifactError(
            f"{path}: format_version is {version}, but this server reads {FORMAT_VERSION}. "
            "Use the image version that trained the model, or a newer one."
        )
    return values


def _parse(document: Any, path: Path) -> Artifact:
    values = versioned(document, path)
    names = values.get("class_names", list)
    if not names or not all(isinstance(name, str) for name in names):
        raise ArtifactError(f"{path}: class_names must be a list of at least one string, not {names!r:.80}.")
    task = values.one_of("task", TASKS)
    low, high = SEGMENTATION_CLASSES
    if task == SEGMENTATION and not low <= len(names) <= high:
        raise ArtifactError(
            f"{path}: class_names has {plural(len(names), 'name')}, but the task {task} needs {low} to {high}."
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
        # Pixels are scaled to 0..1, so these limits keep every value of the input a finite float32.
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
                values.refuse(key, side, f"{spec.resize}, the same as resize")
    return spec


class Values:
    """Typed getters for a JSON object. Every error names the file and the key."""

    def __init__(self, document: Any, path: Path, prefix: str) -> None:
        if not isinstance(document, Mapping):
            raise ArtifactError(f"{path} must contain a JSON object, not {document!r:.80}.")
        self._document, self._path, self._prefix = document, path, prefix

    def refuse(self, key: str, value: Any, expected: str) -> NoReturn:
        raise ArtifactError(f"{self._path}: {self._prefix}{key} is {value!r:.80}; it must be {expected}.")

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
            self.refuse(key, value, f"a list of {channels} numbers from {low:g} to {high:g}, one per channel")
        return tuple(float(item) for item in value)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
