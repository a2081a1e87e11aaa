"""The engine of the task `tensors`: a user's own model, asked as TensorFlow Serving is, or with the bytes of an image.

What computes is given: ONNX Runtime (serve.user_model.graphs), or TensorFlow itself (serve.user_model.saved_model).
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
from serve.http.unreadable_body import explained, is_base64_of_image
from serve.settings import IMAGE_VALUES
from serve.tasks.forms import Form
from serve.telemetry.trace import DECODE, ENCODE, MODEL, stage
from serve.user_model import tfserving_rest
from serve.user_model.signature import STRING, Tensor, TensorModel
from serve.user_model.tfserving_rest import Call

Run = Callable[[str, Mapping[str, NDArray[Any]]], dict[str, NDArray[Any]]]
"""A signature's name and its inputs -> its outputs, by name. Raises BadRequest for what it cannot compute."""

_PIXELS_DEFAULT = "0..1"
_PIXELS = {"0..1": ((0.0,), (1.0,)), "-1..1": ((0.5,), (0.5,)), "0..255": ((0.0,), (1 / 255,))}
# IMAGE_RANGES, each as the mean and std of an InputSpec that gives it.

_FORMS: Sequence[Form[str]] = (Form("application/json", str), Form("application/jsonlines", lambda text: text + "\n"))
_AS_BASE64 = (
    'The text looks like an image in base64: send {"b64": "..."} in JSON, or the bytes of the file as image/png.'
)
_DECODED = (b"\xff\xd8", b"\x89PNG", b"GIF8", b"BM", b"RIFF")
"""How files begin that TensorFlow decodes, which it does within no limits."""
_METHOD = "tfs-method"  # a custom attribute of SageMaker's TensorFlow Serving image
_WITHOUT_TYPE = ("", "application/octet-stream", "binary/octet-stream", "application/x-www-form-urlencoded")


@dataclass(frozen=True)
class Photo:
    """A request's image, to become the one input of a signature in the prediction's turn."""

    signature: str
    tensor: Tensor
    picture: Picture

    def call(self) -> Call:
        """What it calls. Raises BadRequest."""
        with explained(self.picture.data):
            planes, _ = self.picture.load()
        return Call(self.signature, {self.tensor.name: _as_input(planes, self.tensor, self.picture.spec)}, 1)


class TensorEngine:
    """A model of any arrays, asked as serve.engine.model.Engine says."""

    def __init__(self, model: TensorModel, run: Run, pixels: str = "", reader: Reader | None = None) -> None:
        """`pixels` is one of IMAGE_RANGES, for an image's values in a float input; "" for what the graph says."""
        self.model = model
        self._run = run
        self._pixels = pixels
        self._reader = reader or Reader()
        inputs = (tensor for signature in model.signatures.values() for tensor in signature.inputs)
        self._takes_text = any(tensor.dtype == STRING for tensor in inputs)

    def forms(self, batch: bool) -> Sequence[Form[str]]:
        """As serve.engine.model.Engine."""
        return _FORMS

    def read(self, data: bytes, media: str, attributes: Sequence[tuple[str, str]]) -> Call | Text | Photo:
        """As serve.engine.model.Engine."""
        method = dict(attributes).get(_METHOD, "predict")
        if method != "predict":
            raise BadRequest(f"Custom attribute {_METHOD} is {method!r}; only predict is served.")
        read = self._read(data, media)
        if not self._takes_text:
            return read
        call = _call(read)
        self._reader.require_cheap([text for text in _texts(call) if text.startswith(_DECODED)])
        return call

    def respond(self, read: Call | Text | Photo, form: Form[str]) -> str | bytes:
        """As serve.engine.model.Engine."""
        with stage(DECODE):
            call = _call(read)
        outputs = self._computed(call)
        with stage(ENCODE):
            return form.encode(tfserving_rest.write(call, outputs))

    def _computed(self, call: Call) -> dict[str, NDArray[Any]]:
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
        return self._of_image(data, media)

    def _image_input(self) -> tuple[str, Tensor] | None:
        """The default signature and its one input, where that can be an image's pixels or its file's bytes."""
        name = self.model.default
        inputs = self.model.signatures[name].inputs if name else ()
        if name is None or len(inputs) != 1:
            return None
        file = inputs[0].dtype == STRING and inputs[0].shape == (None,)
        return (name, inputs[0]) if file or inputs[0].image else None

    def _of_image(self, data: bytes, media: str) -> Call | Photo:
        found = self._image_input()
        if found is None:
            raise UnsupportedMediaType(f"This model takes no image ({self.model}); {self._instead()}")
        require_image(media, "an image, or the model's input as application/json")
        name, tensor = found
        if tensor.dtype == STRING:
            value = np.empty(1, object)
            value[0] = data
            return Call(name, {tensor.name: value}, 1)
        with explained(data):
            return Photo(name, tensor, self._reader.image(data, _spec(tensor, self._values(name, tensor))))

    def _instead(self) -> str:
        """What to do about a model that takes no image: of most that should, the sides are of any length."""
        signature = self.model.signatures.get(self.model.default or "")
        shapes = [tensor.shape for tensor in signature.inputs] if signature else []
        if any(shape is not None and len(shape) == 4 and None in shape[1:] for shape in shapes):
            return "its height and width must be fixed: save it with Input((H, W, 3)), or send application/json."
        return "send application/json."

    def images(self) -> str | None:
        """What the log says of how an image becomes the input; None where the model takes no pixels."""
        found = self._image_input()
        if found is None or found[1].dtype == STRING:
            return None
        name, tensor = found
        values, graphs = self._values(name, tensor), self.model.signatures[name].image_values
        if tensor.dtype == "uint8":
            why = ", its input's pixels"
        elif self._pixels:
            why = f", as {IMAGE_VALUES} says" + f"; its graph scales {graphs}" * (graphs not in ("", values))
        elif graphs:
            why = f", because its graph scales those; {IMAGE_VALUES} changes that"
        else:
            why = f": no scaling was found in its graph; set {IMAGE_VALUES} if it was trained with other values"
        return f"photos are sent to the model as values {values}{why}"

    def _values(self, name: str, tensor: Tensor) -> str:
        """The one of IMAGE_RANGES in which an image becomes the input `tensor` of the signature `name`."""
        if tensor.dtype == "uint8":
            return "0..255"
        return self._pixels or self.model.signatures[name].image_values or _PIXELS_DEFAULT


def _call(read: Call | Text | Photo) -> Call:
    return read if isinstance(read, Call) else read.call()


def _texts(call: Call) -> list[bytes]:
    """All texts of a call's inputs, the bytes of files among them."""
    return [text for array in call.inputs.values() if array.dtype == object for text in array.flat]


def _as_input(planes: NDArray[np.float32], tensor: Tensor, spec: InputSpec) -> NDArray[Any]:
    """float32 (C, H, W) -> the input, with a batch of one, in its own dtype and order of axes."""
    value = planes if tensor.shape is not None and tensor.shape[1] == spec.channels else planes.transpose(1, 2, 0)
    if tensor.dtype == "uint8":
        value = value.round().clip(0, 255)
    return np.ascontiguousarray(value[np.newaxis], dtype=tensor.dtype)


def _spec(tensor: Tensor, pixels: str) -> InputSpec:
    """How an image becomes this input, in this range of IMAGE_RANGES: stretched, as Keras does."""
    assert tensor.image is not None, "asked before"
    channels, height, width = tensor.image
    mean, std = (values * channels for values in _PIXELS[pixels])
    return InputSpec(tensor.name, channels, height, width, min(height, width), "stretch", mean, std)
