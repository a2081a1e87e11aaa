"""Turns the bytes of an image file into a model's input tensor, both for requests and for evaluation in training.

NumPy and Pillow only, because it runs in every environment.
"""

import io
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import NamedTuple, TypedDict, cast

import numpy as np
from numpy.typing import NDArray
from PIL import (
    Image,
    ImageFile,
    ImageSequence,
    # Pillow loads the plugins of five formats by default. These imports keep it from loading all fifty for the others.
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)

from serve.artifact import InputSpec

MAX_PIXELS = 100_000_000
"""Default limit of an image's width x height: 300 MB once decoded."""

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF")
"""The accepted formats. Pillow reads about forty more, but they are rare and little tested, so not safe for untrusted
input."""

# `decode` checks a configurable limit before it decodes pixels. Pillow's own check only warns.
Image.MAX_IMAGE_PIXELS = None

_ORIENTATION_TAG = 0x0112
_TRANSPOSE = {  # EXIF 2.32, tag Orientation: the operation that turns the stored image upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_SIDEWAYS = {_TRANSPOSE[orientation] for orientation in (5, 6, 7, 8)}  # width becomes height

_BAND_PIXELS = 1 << 20

_SIGNATURES = {b"\xff\xd8": "JPEG", b"\x89PNG": "PNG", b"GIF8": "GIF", b"BM": "BMP", b"RIFF": "WEBP"}

_BRANDS = {  # in the `ftyp` box at the start of files that phones save (ISO/IEC 23008-12, AV1 Image File Format)
    b"avif": "an AVIF file",
    b"avis": "an AVIF file",
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), "a HEIC file, as saved by iPhones"),
}


class UnreadableImage(ValueError):
    """The bytes are not a readable image. The message completes "the image ...", e.g. "is truncated"."""


Loaded = tuple[NDArray[np.float32], tuple[int, int]]
"""A tensor, float32 (channels, height, width), and the original (width, height) of the upright image in pixels."""


class Frame(NamedTuple):
    """The header of an image file: width and height as stored, in pixels, and the EXIF orientation, 1 to 8."""

    width: int
    height: int
    orientation: int

    @property
    def upright(self) -> tuple[int, int]:
        """The width and height of the upright image in pixels."""
        sideways = _TRANSPOSE.get(self.orientation) in _SIDEWAYS
        return (self.height, self.width) if sideways else (self.width, self.height)


def load(data: bytes, spec: InputSpec, max_pixels: int = MAX_PIXELS) -> NDArray[np.float32]:
    """Convert the bytes of an image file to the model's input, float32 (channels, height, width).

    Raises UnreadableImage.
    """
    return load_sized(data, spec, max_pixels)[0]


def load_sized(data: bytes, spec: InputSpec, max_pixels: int = MAX_PIXELS) -> Loaded:
    """Like `load`, but also return the original (width, height) of the upright image. Raises UnreadableImage."""
    image, size = cut_sized(data, spec, max_pixels)
    return to_tensor(image, spec), size


def cut(data: bytes, spec: InputSpec, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Decode the bytes of an image file and apply `fit`. Raises UnreadableImage."""
    return cut_sized(data, spec, max_pixels)[0]


def cut_sized(
    data: bytes,
    spec: InputSpec,
    max_pixels: int = MAX_PIXELS,
    on_header: Callable[[tuple[int, int]], None] = lambda size: None,
) -> tuple[Image.Image, tuple[int, int]]:
    """Like `cut`, but also return the original (width, height) of the upright image. Raises UnreadableImage.

    `on_header` is called with the width and height in the header before the pixels are decoded.
    """
    image, size = _decode(data, spec.channels, max_pixels, **needed(spec), on_header=on_header)
    return fit(image, spec, size), size


def decode(
    data: bytes,
    channels: int = 3,
    short_side: int | None = None,
    max_pixels: int = MAX_PIXELS,
    long_side: int | None = None,
) -> Image.Image:
    """Decode the bytes of an image file into an upright image of mode RGB (channels=3) or L (channels=1).

    The format is detected from the bytes. Transparent pixels are blended with white, 16 bits are scaled to 8, and only
    the first frame of an animation is used. With `short_side`, a JPEG may be decoded at 1/2, 1/4 or 1/8 of its size,
    which is several times faster, as long as both sides have at least `short_side` pixels. `long_side` does the same
    with a minimum for the longer side.

    Raises UnreadableImage if the bytes are empty, not an image, truncated or damaged, or if the image has more than
    `max_pixels` pixels.
    """
    return _decode(data, channels, max_pixels, short_side, long_side)[0]


def frame(data: bytes) -> Frame:
    """Read the header of an image file. The bytes must be an image that `decode` can read."""
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        orientation = _orientation(image)
        width, height = image.size
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            # Pillow's size is upright if the TIFF's own tag sets the orientation, but as stored if XMP sets it.
            width, height = image.tag_v2[TiffImagePlugin.IMAGEWIDTH], image.tag_v2[TiffImagePlugin.IMAGELENGTH]
        return Frame(width, height, orientation)


def frames(data: bytes) -> Iterator[tuple[int, int]]:
    """Decode the frames of an image file one by one and yield their widths and heights.

    Yields nothing if the bytes are not an image. Raises UnreadableImage if the image is damaged.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            for frame in ImageSequence.Iterator(image):
                yield frame.size
                frame.load()
    except UnidentifiedImageError:
        return
    except MemoryError:
        raise
    except Exception as error:  # see _decode
        raise UnreadableImage(_reason(data, error)) from error


class Needed(TypedDict, total=False):
    """The minimum size at which an image may be decoded: keyword arguments of `decode`."""

    short_side: int
    long_side: int


def needed(spec: InputSpec) -> Needed:
    """Return the arguments of `decode` for the smallest size that does not lose detail in the model's input."""
    if spec.rule == "pad":
        return {"long_side": spec.resize}
    return {
        "short_side": max(spec.resize, spec.height, spec.width) if spec.rule == "crop" else max(spec.height, spec.width)
    }


def _decode(
    data: bytes,
    channels: int,
    max_pixels: int,
    short_side: int | None = None,
    long_side: int | None = None,
    on_header: Callable[[tuple[int, int]], None] = lambda size: None,
) -> tuple[Image.Image, tuple[int, int]]:
    """Like `decode`, but also return the original (width, height) of the upright image."""
    if not data:
        raise UnreadableImage("is empty (0 bytes)")
    # GluonCV, when imported, makes Pillow pad truncated files with grey, so training would accept files that the server
    # rejects. Set this each time and do not reset it, because another thread may be decoding.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise UnreadableImage(f"has {width} x {height} pixels, and the limit is {max_pixels} in total")
            on_header(image.size)
            if short_side is not None:
                image.draft(None, (short_side, short_side))
            elif long_side is not None:
                image.draft(None, (long_side, 1) if width >= height else (1, long_side))
            reduced = image.size != (width, height)
            image.load()
            turn = _TRANSPOSE.get(_orientation(image))
            upright = image if turn is None else image.transpose(turn)
            # Pillow rotates TIFFs itself, so use the header's size only if the image was reduced, which TIFFs are not.
            stored = (height, width) if turn in _SIDEWAYS else (width, height)
            return _to_mode(upright, "RGB" if channels == 3 else "L"), stored if reduced else upright.size
    except (UnreadableImage, MemoryError):
        raise
    # Pillow's decoders raise about ten types of error for damaged files (OSError, SyntaxError, struct.error, ...), and
    # the list changes between versions. Any of them means that the bytes are at fault.
    except Exception as error:
        raise UnreadableImage(_reason(data, error)) from error


def covering(size: tuple[int, int], resize: int, height: int, width: int) -> tuple[int, int]:
    """Return the (width, height) to which the rule "crop" resizes an image of (width, height) `size`.

    The aspect ratio is kept. The shorter side becomes `resize`, or larger if a crop of `height` x `width` would not fit
    inside: 1280 x 720 pixels become 720 x 405 for a crop of height 405 and width 720 and a `resize` of 405 or less.
    """
    scale = max(Fraction(resize, min(size)), Fraction(width, size[0]), Fraction(height, size[1]))
    return round(size[0] * scale), round(size[1] * scale)


def cover(image: Image.Image, resize: int, height: int, width: int) -> Image.Image:
    """Resize an image to `covering`, with antialiasing. Training takes random crops of the result.

    Raises UnreadableImage if the image is so narrow that the result would exceed MAX_PIXELS.
    """
    size = covering(image.size, resize, height, width)
    if size[0] * size[1] > MAX_PIXELS:
        raise UnreadableImage(
            f"is too narrow: {image.width} x {image.height} pixels cannot become {size[0]} x {size[1]}"
        )
    return image if size == image.size else image.resize(size, Image.Resampling.BILINEAR)


def fit(image: Image.Image, spec: InputSpec, stored: tuple[int, int] | None = None) -> Image.Image:
    """Resize an image to (spec.width, spec.height) with the rule in `spec`; see InputSpec.

    With the rule "pad", the image is only resized, to `placed(stored, spec)`. `to_tensor` adds the padding, because the
    mean colour is not representable in whole pixel values. `stored` is the size of the original upright image, if the
    image was decoded at a smaller size.
    """
    size = (spec.width, spec.height)
    if spec.rule == "pad":
        return image.resize(placed(stored or image.size, spec), Image.Resampling.BILINEAR)
    if spec.rule == "stretch":
        return image.resize(size, Image.Resampling.BILINEAR)
    # Resize only the part inside the crop. The pixels are the same, and an image of 1 x 100000 pixels does not take
    # gigabytes.
    width, height = covering(image.size, spec.resize, spec.height, spec.width)
    left, top = (width - spec.width) // 2, (height - spec.height) // 2
    x, y = image.width / width, image.height / height
    box = (left * x, top * y, min((left + spec.width) * x, image.width), min((top + spec.height) * y, image.height))
    return image.resize(size, Image.Resampling.BILINEAR, box=box)


def placed(size: tuple[int, int], spec: InputSpec) -> tuple[int, int]:
    """Return the (width, height) to which the rule "pad" resizes an image of (width, height) `size`."""
    width, height = size
    long = max(size)
    return max(1, round(width * spec.resize / long)), max(1, round(height * spec.resize / long))


def to_tensor(image: Image.Image, spec: InputSpec) -> NDArray[np.float32]:
    """Return an image of mode RGB or L as float32 (channels, H, W), (pixel / 255 - mean) / std.

    H and W are those of the image. With the rule "pad", they are spec.height and spec.width, and the area to the right
    of the image and below it is 0.0.
    """
    width, height = (spec.width, spec.height) if spec.rule == "pad" else image.size
    pixels = np.asarray(image).reshape(image.height, image.width, spec.channels)
    tensor = np.zeros((spec.channels, height, width), np.float32)
    inside = tensor[:, : image.height, : image.width]
    # Channel by channel and in place is ten times as fast as computing on the whole array, with the same result.
    for channel, (mean, std) in enumerate(np.array((spec.mean, spec.std), np.float32).T):
        plane = inside[channel]
        np.divide(pixels[..., channel], np.float32(255), out=plane, dtype=np.float32)
        plane -= mean
        plane /= std
    return tensor


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 (upright) if it is missing or unreadable."""
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG)
    except (SyntaxError, ValueError, KeyError, TypeError, IndexError, OSError, EOFError):
        return 1  # damaged EXIF data does not make the pixels unreadable
    return orientation if orientation in _TRANSPOSE else 1


def _to_mode(image: Image.Image, mode: str) -> Image.Image:
    """Convert to `mode` in bands of about a megapixel, to avoid further copies of the whole image in memory."""
    if image.mode == "F":
        raise UnreadableImage("has floating-point pixels; send 8 or 16 bits per channel")
    if image.mode == "I":
        low, high = cast(tuple[float, float], image.getextrema())  # one pair, because the mode has a single band
        if low < 0 or high > 65535:
            raise UnreadableImage("has 32-bit pixels; send 8 or 16 bits per channel")
    if image.mode == mode and not image.has_transparency_data:
        return image
    whole = Image.new(mode, image.size)
    rows = max(1, _BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(top + rows, image.height)))
        whole.paste(_band_to_mode(band, mode), (0, top))
    return whole


def _band_to_mode(image: Image.Image, mode: str) -> Image.Image:
    if image.mode.startswith("I"):  # I;16, I;16B, I;16L, and I, which Pillow also uses for 16-bit greyscale
        pixels = np.asarray(image).astype(np.int32)
        image = Image.fromarray(((pixels + 128) // 257).astype(np.uint8))  # 65535 = 255 x 257, so this rounds
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("RGB")
    return image.convert(mode)


def _reason(data: bytes, error: Exception) -> str:
    """Return what is wrong, in words that complete "the image ..."."""
    detail = str(error) or type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        for signature, name in _SIGNATURES.items():
            if data.startswith(signature):
                return f"is damaged or truncated (starts like a {name}, but {len(data)} bytes have no complete header)"
        if unsupported := _unsupported_format(data):
            return f"is {unsupported}: export it as JPEG"
        return f"is not an image (starts with {data[:12]!r}); send one of {', '.join(FORMATS)}"
    if "truncated" in detail.lower():
        return f"is truncated ({len(data)} bytes arrived)"
    return f"is damaged ({detail})"


def _unsupported_format(data: bytes) -> str | None:
    """Return the name of an unsupported format that phones save, from the first known brand in the header, or None."""
    if data[4:8] != b"ftyp":
        return None
    brands = data[8 : min(int.from_bytes(data[:4], "big"), 256)]
    formats = (_BRANDS.get(brands[start : start + 4]) for start in range(0, len(brands), 4))
    return next(filter(None, formats), None)
