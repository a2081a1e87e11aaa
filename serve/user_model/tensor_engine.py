"""The engine of the task `tensors`: a user's model, called with TensorFlow Serving's REST API or with an image.

ONNX Runtime (serve.user_model.graphs) or TensorFlow (serve.user_model.saved_model) runs the model.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.artifact import InputSpec
from serve.engine.reader import Picture, Reader, Text
from serve.http.errors import BadRequest, UnsupportedMediaType
from serve.http.media import require_image
from serve.http.unreadable_body import is_base64_of_image, unreadable_as_bad_request
from serve.settings import IMAGE_VALUES
from serve.tasks.forms import Form
from serve.telemetry.trace import DECODE, ENCODE, MODEL, stage
from serve.user_model import tfserving_rest
from serve.user_model.signature import STRING, Tensor, TensorModel
from serve.user_model.tfserving_rest import Call

Run = Callable[[str, Mapping[str, NDArray[Any]]], dict[str, NDArray[Any]]]
"""Runs a signature by name with its inputs, and returns its outputs by name. Raises BadRequest."""

_DEFAULT_RANGE = "0..1"
_MEAN_AND_STD = {"0..1": ((0.0,), (1.0,)), "-1..1": ((0.5,), (0.5,)), "0..255": ((0.0,), (1 / 255,))}
"""The mean and std of an InputSpec for each of IMAGE_RANGES."""

_FORMS: Sequence[Form[str]] = (Form("application/json", str), Form("application/jsonlines", lambda text: text + "\n"))
_AS_BASE64 = (
    'The text looks like an image in base64: send {"b64": "..."} in JSON, or the bytes of the file as image/png.'
)
_IMAGE_STARTS = (b"\xff\xd8", b"\x89PNG", b"GIF8", b"BM", b"RIFF")
"""The first bytes of files that TensorFlow decodes, which it does without any limits."""
_METHOD = "tfs-method"  # a custom attribute of SageMaker's TensorFlow Serving image
_WITHOUT_TYPE = ("", "application/octet-stream", "binary/octet-stream", "application/x-www-form-urlencoded")


@dataclass(frozen=True)
class Photo:
    """A request's image for the only input of a signature, converted when it is the prediction's turn."""

    signature: str
    tensor: Tensor
    picture: Picture

    def call(self) -> Call:
        """Return the call with the image as its input. Raises BadRequest."""
        with unreadable_as_bad_request(self.picture.data):
            planes, _ = self.picture.load()
        return Call(self.signature, {self.tensor.name: _as_input(planes, self.tensor, self.picture.spec)}, 1)


class TensorEngine:
    """A model with any inputs and outputs. See serve.engine.model.Engine."""

    def __init__(self, model: TensorModel, run: Run, image_values: str = "", reader: Reader | None = None) -> None:
        """`image_values` is the range of images in a float input, one of IMAGE_RANGES, or "" to use the graph's."""
        self.model = model
        self._run = run
        self._requested_values = image_values
        self._reader = reader or Reader()
        inputs = (tensor for signature in model.signatures.values() for tensor in signature.inputs)
        self._takes_text = any(tensor.dtype == STRING for tensor in inputs)

    def forms(self, batch: bool) -> Sequence[Form[str]]:
        """See serve.engine.model.Engine."""
        return _FORMS

    def read(self, data: bytes, media: str, attributes: Sequence[tuple[str, str]]) -> Call | Text | Photo:
        """See serve.engine.model.Engine."""
        method = dict(attributes).get(_METHOD, "predict")
        if method != "predict":
            raise BadRequest(f"The custom attribute {_METHOD} is {method!r}; it must be predict.")
        read = self._read(data, media)
        if not self._takes_text:
            return read
        call = _call(read)
        self._reader.require_cheap([text for text in _texts(call) if text.startswith(_IMAGE_STARTS)])
        return call

    def respond(self, read: Call | Text | Photo, form: Form[str]) -> str | bytes:
        """See serve.engine.model.Engine."""
        with stage(DECODE):
            call = _call(read)
        outputs = self._compute(call)
        with stage(ENCODE):
            return form.encode(tfserving_rest.write(call, outputs))

    def _compute(self, call: Call) -> dict[str, NDArray[Any]]:
        try:
            with stage(MODEL):
                return self._run(call.signature, call.inputs)
        except BadRequest as error:
            if any(map(is_base64_of_image, _texts(call))):
                raise BadRequest(f"{_AS_BASE64} {error}") from error
            raise

    def _read(self, data: bytes, media: str) -> Call | Text | Photo:
        if media in tfserving_rest.JSON:
            return self._reader.text(data, media, self.model)
        if media in _WITHOUT_TYPE and (data.lstrip()[:1] in (b"{", b"[") or self._image_input() is None):
            return self._reader.text(data, tfserving_rest.JSON[0], self.model)
        return self._read_image(data, media)

    def _image_input(self) -> tuple[str, Tensor] | None:
        """Return the default signature and its only input, if that can be an image's pixels or the bytes of a file."""
        name = self.model.default
        inputs = self.model.signatures[name].inputs if name else ()
        if name is None or len(inputs) != 1:
            return None
        is_file = inputs[0].dtype == STRING and inputs[0].shape == (None,)
        return (name, inputs[0]) if is_file or inputs[0].image else None

    def _read_image(self, data: bytes, media: str) -> Call | Photo:
        image_input = self._image_input()
        if image_input is None:
            raise UnsupportedMediaType(f"This model does not accept images ({self.model}); {self._fix()}")
        require_image(media, "an image, or the model's input as application/json")
        name, tensor = image_input
        if tensor.dtype == STRING:
            value = np.empty(1, object)
            value[0] = data
            return Call(name, {tensor.name: value}, 1)
        with unreadable_as_bad_request(data):
            return Photo(name, tensor, self._reader.image(data, _spec(tensor, self._values(name, tensor))))

    def _fix(self) -> str:
        """Return what to do if a model does not accept images. Usually its height and width are not fixed."""
        signature = self.model.signatures.get(self.model.default or "")
        shapes = [tensor.shape for tensor in signature.inputs] if signature else []
        if any(shape is not None and len(shape) == 4 and None in shape[1:] for shape in shapes):
            return "its height and width must be fixed: save it with Input((H, W, 3)), or send application/json."
        return "send application/json."

    def image_values_message(self) -> str | None:
        """Return a log message about the scaling of images, or None if the model does not accept pixels."""
        image_input = self._image_input()
        if image_input is None or image_input[1].dtype == STRING:
            return None
        name, tensor = image_input
        values, graph_values = self._values(name, tensor), self.model.signatures[name].image_values
        if tensor.dtype == "uint8":
            why = ", because its input is uint8"
        elif self._requested_values:
            why = f", as set by {IMAGE_VALUES}"
            if graph_values not in ("", values):
                why += f", although its graph expects {graph_values}"
        elif graph_values:
            why = f", because its graph expects this range; set {IMAGE_VALUES} to change this"
        else:
            why = f", because its graph has no known scaling; set {IMAGE_VALUES} if it was trained with other values"
        return f"images are sent to the model as values {values}{why}"

    def _values(self, name: str, tensor: Tensor) -> str:
        """Return the range, one of IMAGE_RANGES, of images in the input `tensor` of the signature `name`."""
        if tensor.dtype == "uint8":
            return "0..255"
        return self._requested_values or self.model.signatures[name].image_values or _DEFAULT_RANGE


def _call(read: Call | Text | Photo) -> Call:
    return read if isinstance(read, Call) else read.call()


def _texts(call: Call) -> list[bytes]:
    """Return all strings in a call's inputs, including the bytes of files."""
    return [text for array in call.inputs.values() if array.dtype == object for text in array.flat]


def _as_input(planes: NDArray[np.float32], tensor: Tensor, spec: InputSpec) -> NDArray[Any]:
    """Convert float32 (C, H, W) to the input's dtype and axis order, with a batch of one."""
    value = planes if tensor.shape is not None and tensor.shape[1] == spec.channels else planes.transpose(1, 2, 0)
    if tensor.dtype == "uint8":
        value = value.round().clip(0, 255)
    return np.ascontiguousarray(value[np.newaxis], dtype=tensor.dtype)


def _spec(tensor: Tensor, values: str) -> InputSpec:
    """Return the InputSpec for this input and range of IMAGE_RANGES. Images are stretched, as in Keras."""
    assert tensor.image is not None, "checked by _image_input"
    channels, height, width = tensor.image
    mean, std = (per_channel * channels for per_channel in _MEAN_AND_STD[values])
    return InputSpec(tensor.name, channels, height, width, min(height, width), "stretch", mean, std)
