"""The jobs of a sandbox: decode images or parse text. This module writes and reads each job's messages."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serve import preprocess
from serve.artifact import InputSpec
from serve.http.errors import BadRequest
from serve.preprocess import UnreadableImage
from serve.user_model import tfserving_rest
from serve.user_model.signature import Signature, Tensor, TensorModel
from serve.user_model.tfserving_rest import Call

Document = dict[str, Any]
"""A JSON object."""
Message = tuple[Document, bytes]
"""A document, and bytes."""
Note = Callable[[Document], None]
"""Reports part of the result early, in case the job does not finish."""

IMAGE, COUNT_PIXELS, TEXT = "image", "count_pixels", "text"
_BYTES = "bytes"
_MAY_BE_TEXT = b"BM"  # the start of a BMP, but also of a word


def image_arguments(spec: InputSpec, max_pixels: int) -> Document:
    """Return the arguments of the job IMAGE."""
    return {"spec": asdict(spec), "max_pixels": max_pixels}


def image(arguments: Document, data: bytes, note: Note) -> Message:
    """Run `preprocess.cut_sized` on the bytes of an image. Reports the size in its header early, as `header`."""
    spec = InputSpec(**arguments["spec"])
    try:
        cut, stored = preprocess.cut_sized(data, spec, arguments["max_pixels"], lambda size: note({"header": size}))
    except UnreadableImage as error:
        return {"unreadable": str(error)}, b""
    return {"mode": cut.mode, "size": cut.size, "stored": stored}, cut.tobytes()


def parse_image(message: Message) -> tuple[Image.Image, tuple[int, int]]:
    """Return the result of `preprocess.cut_sized` from the job's message, which must not be `unreadable`."""
    result, pixels = message
    return Image.frombytes(result["mode"], tuple(result["size"]), pixels), tuple(result["stored"])


def count_pixels(arguments: Document, data: bytes, note: Note) -> Message:
    """Decode several image files of the given `lengths`, and count the `pixels` of all their frames.

    Data that is not an image has no pixels. If an image cannot be read, the result is `unreadable`.
    """
    pixels, start = 0, 0
    for length in arguments["lengths"]:
        file, start = data[start : start + length], start + length
        try:
            pixels += sum(width * height for width, height in preprocess.frames(file))
        except UnreadableImage as error:
            if not file.startswith(_MAY_BE_TEXT):
                return {"unreadable": str(error)}, b""
    return {"pixels": pixels}, b""


def call_arguments(media: str, model: TensorModel) -> Document:
    """Return the arguments of the job TEXT."""
    return {"media": media, "model": asdict(model)}


def text(arguments: Document, data: bytes, note: Note) -> Message:
    """Run `tfserving_rest.parse` on a body of JSON or CSV."""
    model = arguments["model"]
    signatures = {
        name: Signature(_tensors(signature["inputs"]), _tensors(signature["outputs"]))
        for name, signature in model["signatures"].items()
    }
    try:
        call = tfserving_rest.parse(data, arguments["media"], TensorModel(model["network"], signatures))
    except BadRequest as error:
        return {"refused": error.args[0]}, b""
    arrays, contents = [], []
    for name, array in call.inputs.items():
        flat = _join(array) if array.dtype == object else array.tobytes()
        arrays.append([name, _BYTES if array.dtype == object else array.dtype.name, array.shape, len(flat)])
        contents.append(flat)
    return {"signature": call.signature, "rows": call.rows, "arrays": arrays}, b"".join(contents)


def _tensors(documents: list[Document]) -> tuple[Tensor, ...]:
    """Restore tensors from the JSON of `asdict`, where tuples have become lists."""
    return tuple(
        Tensor(tensor["name"], tensor["dtype"], None if tensor["shape"] is None else tuple(tensor["shape"]))
        for tensor in documents
    )


def parse_call(message: Message) -> Call:
    """Return the Call from the job's message. Raises BadRequest if the body was refused."""
    result, content = message
    if reason := result.get("refused"):
        raise BadRequest(reason)
    inputs: dict[str, NDArray[Any]] = {}
    start = 0
    for name, dtype, shape, length in result["arrays"]:
        part = content[start : start + length]
        flat = _split(part) if dtype == _BYTES else np.frombuffer(part, dtype)
        inputs[name] = flat.reshape(shape)
        start += length
    return Call(result["signature"], inputs, result["rows"])


def _join(array: NDArray[np.object_]) -> bytes:
    """Join an array of bytes objects: their count, their lengths, and their contents."""
    items = array.ravel().tolist()
    return b"".join((np.array([len(items), *map(len, items)], np.int64).tobytes(), *items))


def _split(content: bytes) -> NDArray[np.object_]:
    """Reverse `_join`; the array is flat."""
    count = int(np.frombuffer(content[:8], np.int64)[0])
    ends = 8 * (count + 1) + np.cumsum(np.frombuffer(content[8 : 8 * (count + 1)], np.int64))
    array = np.empty(count, object)
    start = 8 * (count + 1)
    for index, end in enumerate(ends.tolist()):
        array[index], start = content[start:end], end
    return array


JOBS: dict[str, Callable[[Document, bytes, Note], Message]] = {IMAGE: image, COUNT_PIXELS: count_pixels, TEXT: text}
