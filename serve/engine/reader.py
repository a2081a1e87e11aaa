"""Reads the bodies of requests: in this process if that is cheap, otherwise in a sandbox."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from serve import preprocess
from serve.artifact import InputSpec
from serve.engine import cheap_images
from serve.engine import sandbox_jobs as jobs
from serve.engine.sandbox import Crashed, Exhausted, Sandbox
from serve.engine.sandbox_jobs import Message
from serve.http.errors import BadRequest, TooLarge, from_body
from serve.preprocess import Loaded, UnreadableImage
from serve.user_model import tfserving_rest
from serve.user_model.signature import TensorModel
from serve.user_model.tfserving_rest import Call

MAX_CHEAP_TEXT = 1 << 20
"""Maximum size in bytes of text that is parsed in this process: half a second and 60 MB at most."""

_MAX_PIXEL_BYTES = 20
"""Maximum memory per pixel while decoding, measured for all formats (docs/serving.md)."""
_PILLOW_OUT_OF_MEMORY = "decoder error -9"
"""Pillow's message if one of its codecs cannot allocate memory (IMAGING_CODEC_MEMORY)."""
_TENSORFLOW_PIXEL_BYTES = 16
"""Memory per pixel if a model decodes images itself: three channels, as 8-bit integers and as float32."""


@dataclass(frozen=True)
class Picture:
    """A request's image: the bytes of the file, and the image if a sandbox has `decoded` it, with its original size."""

    data: bytes
    spec: InputSpec
    max_pixels: int = preprocess.MAX_PIXELS
    decoded: tuple[Image.Image, tuple[int, int]] | None = None

    def load(self) -> Loaded:
        """Return the same as preprocess.load_sized. Called when it is the prediction's turn. Raises UnreadableImage."""
        if self.decoded is None:
            return preprocess.load_sized(self.data, self.spec, self.max_pixels)
        image, size = self.decoded
        return preprocess.to_tensor(image, self.spec), size


@dataclass(frozen=True)
class Text:
    """A request's body with a media type in tfserving_rest.JSON, parsed when it is the prediction's turn."""

    data: bytes
    media: str
    model: TensorModel

    def call(self) -> Call:
        """Parse the body. Raises BadRequest."""
        return tfserving_rest.parse(self.data, self.media, self.model)


class Reader:
    """Reads every body in this process, when it is the prediction's turn."""

    def image(self, data: bytes, spec: InputSpec) -> Picture:
        """Return the image in a file's bytes. This or `Picture.load` may raise UnreadableImage."""
        return Picture(data, spec)

    def text(self, data: bytes, media: str, model: TensorModel) -> Text | Call:
        """Return a body with a media type in tfserving_rest.JSON, parsed or to be parsed later. Raises BadRequest."""
        return Text(data, media, model)

    def require_cheap(self, images: Sequence[bytes]) -> None:
        """Raise TooLarge if a model would need too much memory to decode these image files."""


class SandboxedReader(Reader):
    """Reads expensive bodies in a sandbox, before the prediction's turn. Thread-safe.

    Raises TooLarge if a body exceeds the sandbox's limits, and Unavailable if the sandbox is busy.
    """

    def __init__(self, sandbox: Sandbox, max_pixels: int = preprocess.MAX_PIXELS) -> None:
        Image.preinit()  # otherwise the first image waits 25 ms for Pillow's plugins
        self._sandbox = sandbox
        self._max_pixels = max_pixels

    def image(self, data: bytes, spec: InputSpec) -> Picture:
        """Like Reader.image, but decode expensive images now."""
        if cheap_images.reduced_size(data, spec) is not None:
            return Picture(data, spec, self._max_pixels)
        return Picture(data, spec, self._max_pixels, jobs.parse_image(self._decode(data, spec)))

    def text(self, data: bytes, media: str, model: TensorModel) -> Text | Call:
        """Like Reader.text, but parse long texts now."""
        if len(data) <= MAX_CHEAP_TEXT:
            return super().text(data, media, model)
        try:
            return jobs.parse_call(self._sandbox.run(jobs.TEXT, jobs.call_arguments(media, model), data))
        except Exhausted as error:
            problem = f"Parsing the text of {len(data)} bytes takes more than {self._limit(error.what)}"
            raise TooLarge(f"{problem}; send fewer rows per request.") from error
        except Crashed as error:
            raise BadRequest(f"The body cannot be read (the parser crashed with {error}).") from error

    def require_cheap(self, images: Sequence[bytes]) -> None:
        """Like Reader.require_cheap: the limits for one image apply to all of them together."""
        sizes = [cheap_images.size(data) for data in images]
        pixels = sum(size[0] * size[1] for size in sizes if size is not None)
        try:
            if None in sizes or pixels > cheap_images.MAX_PIXELS:
                arguments = {"lengths": [len(data) for data in images]}
                result, _ = self._sandbox.run(jobs.COUNT_PIXELS, arguments, b"".join(images))
                if reason := result.get("unreadable"):
                    raise BadRequest(f"An image of the request {from_body(self._with_memory_hint(reason))}.")
                pixels = result["pixels"]
        except Exhausted as error:
            raise TooLarge(f"Decoding the request's images takes more than {self._limit(error.what)}.") from error
        except Crashed as error:
            raise BadRequest(f"An image of the request is damaged (the decoder crashed with {error}).") from error
        if _TENSORFLOW_PIXEL_BYTES * pixels > self._sandbox.memory:
            raise TooLarge(
                f"The request's images have {pixels} pixels: decoding them takes more than {self._limit('memory')}; "
                "send fewer or smaller images."
            )

    def _decode(self, data: bytes, spec: InputSpec) -> Message:
        if not data:
            raise UnreadableImage("is empty (0 bytes)")
        try:
            result, pixels = self._sandbox.run(jobs.IMAGE, jobs.image_arguments(spec, self._max_pixels), data)
        except Exhausted as error:
            raise TooLarge(self._too_expensive(error.what, error.notes.get("header"))) from error
        except Crashed as error:
            raise UnreadableImage(f"is damaged (the decoder crashed with {error})") from error
        if reason := result.get("unreadable"):
            self._raise_unreadable(reason, result.get("header"))
        return result, pixels

    def _raise_unreadable(self, reason: str, header: tuple[int, int] | None) -> None:
        """Raise UnreadableImage, or TooLarge if memory may have run out, which some decoders report as damage."""
        if header is not None and _PILLOW_OUT_OF_MEMORY in reason:
            raise TooLarge(self._too_expensive("memory", header))
        if header is not None and _MAX_PIXEL_BYTES * math.prod(header) > self._sandbox.memory:
            raise TooLarge(f"{self._too_expensive('memory', header)} Or it {from_body(reason)}.")
        raise UnreadableImage(reason if header else self._with_memory_hint(reason))

    def _with_memory_hint(self, reason: str) -> str:
        """Add a hint that the decoder may have run out of memory, which is possible if the header is unknown."""
        if reason.startswith("is damaged ("):
            return f"{reason}, or takes more than {self._limit('memory')} to decode"
        return reason

    def _too_expensive(self, what: str, size: tuple[int, int] | None) -> str:
        image = f"The image of {size[0]} x {size[1]} pixels" if size else "The image's header"
        fix = {"time": "it as a plain JPEG or PNG", "memory": "a smaller one, or a plain JPEG"}[what]
        return f"{image} takes more than {self._limit(what)} to decode; send {fix}."

    def _limit(self, what: str) -> str:
        return f"{self._sandbox.seconds:g} s" if what == "time" else f"{self._sandbox.memory // 2**20} MB"
