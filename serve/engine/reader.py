"""From the body of a request to what a model computes on: here and now, or what costs more than little in a sandbox."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from serve import preprocess
from serve.artifact import InputSpec
from serve.engine import ordinary
from serve.engine import sandbox_jobs as jobs
from serve.engine.sandbox import Crashed, Exhausted, Sandbox
from serve.engine.sandbox_jobs import Message
from serve.http.errors import BadRequest, TooLarge, from_body
from serve.preprocess import Loaded, UnreadableImage
from serve.user_model import tfserving_rest
from serve.user_model.signature import TensorModel
from serve.user_model.tfserving_rest import Call

TEXT_HERE = 1 << 20
"""Longest text in bytes that is read in this process: half a second and 60 MB, whatever it holds."""

_DEAREST = 20
"""Bytes that no pixel exceeds while it is decoded, by the formats that were measured (docs/serving.md)."""
_PILLOWS_MEMORY = "decoder error -9"
"""What Pillow says where a codec of its own got no memory (IMAGING_CODEC_MEMORY), whatever size the header says."""
_TENSORFLOWS = 16
"""Bytes of a pixel that a model decodes itself: three of 8 bits, and as many as floats."""


@dataclass(frozen=True)
class Picture:
    """A request's image: its file's bytes, and what a sandbox has `decoded` of them with the image's own size."""

    data: bytes
    spec: InputSpec
    max_pixels: int = preprocess.MAX_PIXELS
    decoded: tuple[Image.Image, tuple[int, int]] | None = None

    def load(self) -> Loaded:
        """As preprocess.load_sized, in the prediction's turn. Raises UnreadableImage."""
        if self.decoded is None:
            return preprocess.load_sized(self.data, self.spec, self.max_pixels)
        image, size = self.decoded
        return preprocess.to_tensor(image, self.spec), size


@dataclass(frozen=True)
class Text:
    """A request's body of one of tfserving_rest.JSON, to be parsed in the prediction's turn."""

    data: bytes
    media: str
    model: TensorModel

    def call(self) -> Call:
        """What it calls. Raises BadRequest."""
        return tfserving_rest.parse(self.data, self.media, self.model)


class Reader:
    """Reads every body in this process, in the prediction's turn."""

    def image(self, data: bytes, spec: InputSpec) -> Picture:
        """The bytes of an image file, to be loaded. Either step may raise UnreadableImage."""
        return Picture(data, spec)

    def text(self, data: bytes, media: str, model: TensorModel) -> Text | Call:
        """A body of one of tfserving_rest.JSON, or what it calls. Raises BadRequest."""
        return Text(data, media, model)

    def require_cheap(self, images: Sequence[bytes]) -> None:
        """Raise TooLarge for image files that a model would decode at too great a cost."""


class SandboxedReader(Reader):
    """Does before the turn, in a sandbox, what a body could make expensive. Safe to share by threads.

    What exhausts its budget raises TooLarge, and Unavailable what finds no room in the sandbox.
    """

    def __init__(self, sandbox: Sandbox, max_pixels: int = preprocess.MAX_PIXELS) -> None:
        Image.preinit()  # the drivers of formats, which Pillow would load at the first image: 25 ms of a core
        self._sandbox = sandbox
        self._max_pixels = max_pixels

    def image(self, data: bytes, spec: InputSpec) -> Picture:
        """As Reader.image; what is not ordinary is decoded at once."""
        if ordinary.reduced_size(data, spec) is not None:
            return Picture(data, spec, self._max_pixels)
        return Picture(data, spec, self._max_pixels, jobs.image_of(self._decoded(data, spec)))

    def text(self, data: bytes, media: str, model: TensorModel) -> Text | Call:
        """As Reader.text; a long one is read at once."""
        if len(data) <= TEXT_HERE:
            return super().text(data, media, model)
        try:
            return jobs.call_of(self._sandbox.run(jobs.TEXT, jobs.ask_for_call(media, model), data))
        except Exhausted as error:
            said = f"The text of {len(data)} bytes takes more than {self._budget(error.what)} to read"
            raise TooLarge(f"{said}; send fewer rows in a request.") from error
        except Crashed as error:
            raise BadRequest(f"The body cannot be read (its reader ended by {error}).") from error

    def require_cheap(self, images: Sequence[bytes]) -> None:
        """As Reader.require_cheap: all of them together may take what one image may, as the model decodes them."""
        sizes = [ordinary.size(data) for data in images]
        pixels = sum(size[0] * size[1] for size in sizes if size is not None)
        try:
            if None in sizes or pixels > ordinary.PIXELS_HERE:
                arguments = {"lengths": [len(data) for data in images]}
                found, _ = self._sandbox.run(jobs.WEIGH, arguments, b"".join(images))
                if reason := found.get("unreadable"):
                    raise BadRequest(f"An image of the request {from_body(self._doubted(reason))}.")
                pixels = found["pixels"]
        except Exhausted as error:
            raise TooLarge(f"To decode the request's images takes more than {self._budget(error.what)}.") from error
        except Crashed as error:
            raise BadRequest(f"An image of the request is damaged (its decoder ended by {error}).") from error
        if _TENSORFLOWS * pixels > self._sandbox.memory:
            raise TooLarge(
                f"The request's images have {pixels} pixels: to decode them takes more than "
                f"{self._budget('memory')}; send fewer or smaller ones."
            )

    def _decoded(self, data: bytes, spec: InputSpec) -> Message:
        if not data:
            raise UnreadableImage("is empty (0 bytes)")
        try:
            found, pixels = self._sandbox.run(jobs.IMAGE, jobs.ask_for_image(spec, self._max_pixels), data)
        except Exhausted as error:
            raise TooLarge(self._too_much(error.what, error.notes.get("header"))) from error
        except Crashed as error:
            raise UnreadableImage(f"is damaged (its decoder ended by {error})") from error
        if reason := found.get("unreadable"):
            self._blame(reason, found.get("header"))
        return found, pixels

    def _blame(self, reason: str, header: tuple[int, int] | None) -> None:
        """Raise for an image that could not be read; some decoders take a want of memory for damage."""
        if header is not None and _PILLOWS_MEMORY in reason:
            raise TooLarge(self._too_much("memory", header))
        if header is not None and _DEAREST * math.prod(header) > self._sandbox.memory:
            raise TooLarge(f"{self._too_much('memory', header)} Or it {from_body(reason)}.")
        raise UnreadableImage(reason if header else self._doubted(reason))

    def _doubted(self, reason: str) -> str:
        """The reason, and what may lie behind it where no header was read: a decoder that got no memory."""
        if reason.startswith("is damaged ("):
            return f"{reason}, or takes more than {self._budget('memory')} to decode"
        return reason

    def _too_much(self, what: str, size: tuple[int, int] | None) -> str:
        image = f"The image of {size[0]} x {size[1]} pixels" if size else "The image's header"
        instead = {"time": "it as a plain JPEG or PNG", "memory": "a smaller one, or a plain JPEG"}[what]
        return f"{image} takes more than {self._budget(what)} to decode; send {instead}."

    def _budget(self, what: str) -> str:
        return f"{self._sandbox.seconds:g} s" if what == "time" else f"{self._sandbox.memory // 2**20} MB"
