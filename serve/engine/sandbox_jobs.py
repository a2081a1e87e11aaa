"""What a sandbox does with the bytes of a request: decode an image, read a text. Both ends of each job's messages."""

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
"""Adds to the document ahead of time: what is known of a job that may never end."""

IMAGE, WEIGH, TEXT = "image", "weigh", "text"
_BYTES = "bytes"
_MAY_BE_TEXT = b"BM"  # how a BMP begins, and a word may too


def ask_for_image(spec: InputSpec, max_pixels: int) -> Document:
    """The arguments of IMAGE."""
    return {"spec": asdict(spec), "max_pixels": max_pixels}


def image(arguments: Document, data: bytes, note: Note) -> Message:
    """The bytes of an image -> what `preprocess.cut_sized` makes of them. Notes the size that the `header` says."""
    spec = InputSpec(**arguments["spec"])
    try:
        cut, stored = preprocess.cut_sized(data, spec, arguments["max_pixels"], lambda size: note({"header": size}))
    except UnreadableImage as error:
        return {"unreadable": str(error)}, b""
    return {"mode": cut.mode, "size": cut.size, "stored": stored}, cut.tobytes()


def image_of(message: Message) -> tuple[Image.Image, tuple[int, int]]:
    """What `preprocess.cut_sized` returns, of an image that could be read."""
    found, pixels = message
    return Image.frombytes(found["mode"], tuple(found["size"]), pixels), tuple(found["stored"])


def weigh(arguments: Document, data: bytes, note: Note) -> Message:
    """The bytes of several image files, of `lengths` each -> how many `pixels` all of their frames have, decoded.

    What is not an image weighs nothing. One that cannot be read is `unreadable`.
    """
    pixels, at = 0, 0
    for length in arguments["lengths"]:
        one, at = data[at : at + length], at + length
        try:
            pixels += sum(width * height for width, height in preprocess.frames(one))
        except UnreadableImage as error:
            if not one.startswith(_MAY_BE_TEXT):
                return {"unreadable": str(error)}, b""
    return {"pixels": pixels}, b""


def ask_for_call(media: str, model: TensorModel) -> Document:
    """The arguments of TEXT."""
    return {"media": media, "model": asdict(model)}


def text(arguments: Document, data: bytes, note: Note) -> Message:
    """A body of JSON or CSV -> the Call that `tfserving_rest.parse` makes of it."""
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
        flat = _joined(array) if array.dtype == object else array.tobytes()
        arrays.append([name, _BYTES if array.dtype == object else array.dtype.name, array.shape, len(flat)])
        contents.append(flat)
    return {"signature": call.signature, "rows": call.rows, "arrays": arrays}, b"".join(contents)


def _tensors(described: list[Document]) -> tuple[Tensor, ...]:
    """As `asdict` describes them, from JSON, which has lists for tuples."""
    return tuple(
        Tensor(one["name"], one["dtype"], None if one["shape"] is None else tuple(one["shape"])) for one in described
    )


def call_of(message: Message) -> Call:
    """The Call. Raises BadRequest."""
    found, content = message
    if reason := found.get("refused"):
        raise BadRequest(reason)
    inputs: dict[str, NDArray[Any]] = {}
    at = 0
    for name, dtype, shape, length in found["arrays"]:
        part = content[at : at + length]
        flat = _split(part) if dtype == _BYTES else np.frombuffer(part, dtype)
        inputs[name] = flat.reshape(shape)
        at += length
    return Call(found["signature"], inputs, found["rows"])


def _joined(array: NDArray[np.object_]) -> bytes:
    """An array of bytes objects: how many there are, their lengths, and they themselves."""
    items = array.ravel().tolist()
    return b"".join((np.array([len(items), *map(len, items)], np.int64).tobytes(), *items))


def _split(content: bytes) -> NDArray[np.object_]:
    """What `_joined` was given, flat."""
    count = int(np.frombuffer(content[:8], np.int64)[0])
    ends = 8 * (count + 1) + np.cumsum(np.frombuffer(content[8 : 8 * (count + 1)], np.int64))
    array = np.empty(count, object)
    begin = 8 * (count + 1)
    for index, end in enumerate(ends.tolist()):
        array[index], begin = content[begin:end], end
    return array


JOBS: dict[str, Callable[[Document, bytes, Note], Message]] = {IMAGE: image, WEIGH: weigh, TEXT: text}
