"""From the bytes of an image file to the tensor a model reads: the one way, for validation and for requests.

NumPy and Pillow only, so that it runs in every environment.
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
    # Pillow itself loads the drivers of five formats; asked for another it would load all of its fifty.
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)

from serve.artifact import InputSpec

MAX_PIXELS = 100_000_000
"""Default limit of an image's width x height: 300 MB once decoded."""

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF")
"""What is read. Pillow knows some forty more formats, seldom sent and little tested: not for bytes from strangers."""

# Ours is checked before a pixel is decoded, with a limit that can be set; Pillow's is a constant that only warns.
Image.MAX_IMAGE_PIXELS = None

_ORIENTATION_TAG = 0x0112
_TRANSPOSE = {  # EXIF 2.32, tag Orientation: what turns the stored picture upright
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

_BRANDS = {  # of the box `ftyp` with which a file of phones begins (ISO/IEC 23008-12, AV1 Image File Format)
    b"avif": "AVIF",
    b"avis": "AVIF",
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), "HEIC, as iPhones save it"),
}


class UnreadableImage(ValueError):
    """Bytes that are no image we can read; the message completes "the image ...", e.g. "is truncated"."""


Loaded = tuple[NDArray[np.float32], tuple[int, int]]
"""A tensor, float32 (channels, height, width), and the upright image's own (width, height) in pixels."""


class Frame(NamedTuple):
    """What an image file's header says: its width and height as stored, in pixels, and EXIF's orientation, 1 to 8."""

    width: int
    height: int
    orientation: int

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height in pixels of the upright image."""
        sideways = _TRANSPOSE.get(self.orientation) in _SIDEWAYS
        return (self.height, self.width) if sideways else (self.width, self.height)


def load(data: bytes, spec: InputSpec, max_pixels: int = MAX_PIXELS) -> NDArray[np.float32]:
    """Image file bytes -> float32 (channels, height, width), ready for the model. Raises UnreadableImage."""
    return load_sized(data, spec, max_pixels)[0]


def load_sized(data: bytes, spec: InputSpec, max_pixels: int = MAX_PIXELS) -> Loaded:
    """As `load`, and the (width, height) of the upright image in the file, in pixels. Raises UnreadableImage."""
    image, size = cut_sized(data, spec, max_pixels)
    return to_tensor(image, spec), size


def cut(data: bytes, spec: InputSpec, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Image file bytes -> what `fit` makes of the image: all that the model sees. Raises UnreadableImage."""
    return cut_sized(data, spec, max_pixels)[0]


def cut_sized(
    data: bytes,
    spec: InputSpec,
    max_pixels: int = MAX_PIXELS,
    on_header: Callable[[tuple[int, int]], None] = lambda size: None,
) -> tuple[Image.Image, tuple[int, int]]:
    """As `cut`, and the (width, height) of the upright image in the file, in pixels. Raises UnreadableImage.

    `on_header` is called with the width and height that the header says, before the pixels are decoded.
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
    """Image file bytes -> an upright image of mode RGB (channels=3) or L (channels=1).

    The format is told from the bytes. Transparency is laid over white, 16 bits are scaled to 8, of an animation the
    first frame counts. With `short_side` a JPEG may come at a half, a quarter or an eighth of its size (decoded so,
    which is several times faster), both sides still at least `short_side` pixels; so with `long_side`, of which the
    longer side has at least as many.
    Raises UnreadableImage: empty, no image, truncated, damaged, or more than `max_pixels` pixels.
    """
    return _decode(data, channels, max_pixels, short_side, long_side)[0]


def frame(data: bytes) -> Frame:
    """What the header of an image file says. The bytes must be an image that `decode` can read."""
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        orientation = _orientation(image)
        width, height = image.size
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            # Of a TIFF, Pillow gives the upright sides when its own tag turns it, and the stored ones when XMP does.
            width, height = image.tag_v2[TiffImagePlugin.IMAGEWIDTH], image.tag_v2[TiffImagePlugin.IMAGELENGTH]
        return Frame(width, height, orientation)


def frames(data: bytes) -> Iterator[tuple[int, int]]:
    """Decode each frame of an image file, one of an animation after the other; yield their widths and heights.

    There is none where the bytes are no image at all. Raises UnreadableImage for an image that is damaged.
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
    """How small an image may be decoded: keywords of `decode`."""

    short_side: int
    long_side: int


def needed(spec: InputSpec) -> Needed:
    """The keywords of `decode` that say how small an image may be decoded without losing what the model could see."""
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
    """What `decode` returns, and the (width, height) that the upright image has in the file."""
    if not data:
        raise UnreadableImage("is empty (0 bytes)")
    # A library may have told Pillow to pad truncated files with grey (GluonCV does, when imported), and training would
    # read what the server refuses. Set each time and never back: another thread may be decoding.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise UnreadableImage(f"has {width} x {height} pixels, the limit is {max_pixels} in all")
            on_header(image.size)
            if short_side is not None:
                image.draft(None, (short_side, short_side))
            elif long_side is not None:
                image.draft(None, (long_side, 1) if width >= height else (1, long_side))
            reduced = image.size != (width, height)
            image.load()
            turn = _TRANSPOSE.get(_orientation(image))
            upright = image if turn is None else image.transpose(turn)
            # Pillow itself turns a TIFF, so that the file's size is known for sure only where it has been reduced.
            stored = (height, width) if turn in _SIDEWAYS else (width, height)
            return _to_mode(upright, "RGB" if channels == 3 else "L"), stored if reduced else upright.size
    except (UnreadableImage, MemoryError):
        raise
    # Pillow's decoders raise some ten kinds of error on damaged bytes (OSError, SyntaxError, struct.error, ...), and
    # the list changes with its versions. Whatever it is, the bytes are at fault, and the reason is passed on.
    except Exception as error:
        raise UnreadableImage(_reason(data, error)) from error


def covering(size: tuple[int, int], resize: int, height: int, width: int) -> tuple[int, int]:
    """Width and height in pixels to which the rule "crop" resizes an image of (width, height) `size`.

    The aspect is kept. The shorter side becomes `resize`, or as much more as it takes for a crop of `height` x `width`
    to fit inside: 1280 x 720 pixels become 720 x 405 for a crop of 405 x 720 and a `resize` of 405 or less.
    """
    scale = max(Fraction(resize, min(size)), Fraction(width, size[0]), Fraction(height, size[1]))
    return round(size[0] * scale), round(size[1] * scale)


def cover(image: Image.Image, resize: int, height: int, width: int) -> Image.Image:
    """Resize an image to `covering` its crop, antialiased: what `fit` cuts the centre from, and training any part.

    Raises UnreadableImage for a strip so narrow that the result would exceed MAX_PIXELS.
    """
    size = covering(image.size, resize, height, width)
    if size[0] * size[1] > MAX_PIXELS:
        raise UnreadableImage(
            f"is too narrow: {image.width} x {image.height} pixels cannot become {size[0]} x {size[1]}"
        )
    return image if size == image.size else image.resize(size, Image.Resampling.BILINEAR)


def fit(image: Image.Image, spec: InputSpec, stored: tuple[int, int] | None = None) -> Image.Image:
    """Resize and crop, or stretch, to (spec.width, spec.height) as spec.rule says; see InputSpec.

    By the rule "pad" it is resized only, to `placed(stored, spec)`: the mean colour is none that an image could have,
    and `to_tensor` puts it there. `stored` is the upright image's own size where it has been decoded at a smaller one.
    """
    size = (spec.width, spec.height)
    if spec.rule == "pad":
        return image.resize(placed(stored or image.size, spec), Image.Resampling.BILINEAR)
    if spec.rule == "stretch":
        return image.resize(size, Image.Resampling.BILINEAR)
    # The crop is taken out of the resized image without making the rest of it: same pixels, and a strip of
    # 1 x 100000 pixels cannot ask for gigabytes.
    width, height = covering(image.size, spec.resize, spec.height, spec.width)
    left, top = (width - spec.width) // 2, (height - spec.height) // 2
    x, y = image.width / width, image.height / height
    box = (left * x, top * y, min((left + spec.width) * x, image.width), min((top + spec.height) * y, image.height))
    return image.resize(size, Image.Resampling.BILINEAR, box=box)


def placed(size: tuple[int, int], spec: InputSpec) -> tuple[int, int]:
    """Width and height in pixels at which the rule "pad" lays an image of the upright `size` into the input."""
    width, height = size
    long = max(size)
    return max(1, round(width * spec.resize / long)), max(1, round(height * spec.resize / long))


def to_tensor(image: Image.Image, spec: InputSpec) -> NDArray[np.float32]:
    """An image of mode RGB or L, as spec.channels says -> float32 (channels, H, W), (pixel / 255 - mean) / std.

    H and W are the image's; by the rule "pad" spec.height and spec.width, with 0.0 right of the image and below it.
    """
    width, height = (spec.width, spec.height) if spec.rule == "pad" else image.size
    pixels = np.asarray(image).reshape(image.height, image.width, spec.channels)
    tensor = np.zeros((spec.channels, height, width), np.float32)
    inside = tensor[:, : image.height, : image.width]
    # Channel by channel and in place: ten times as fast as arithmetic on the whole, with the same numbers.
    for channel, (mean, std) in enumerate(np.array((spec.mean, spec.std), np.float32).T):
        plane = inside[channel]
        np.divide(pixels[..., channel], np.float32(255), out=plane, dtype=np.float32)
        plane -= mean
        plane /= std
    return tensor


def _orientation(image: Image.Image) -> int:
    """EXIF's orientation, 1 to 8; 1, upright, where there is none that can be read."""
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG)
    except (SyntaxError, ValueError, KeyError, TypeError, IndexError, OSError, EOFError):
        return 1  # damaged EXIF says nothing about the pixels: they are as they are stored
    return orientation if orientation in _TRANSPOSE else 1


def _to_mode(image: Image.Image, mode: str) -> Image.Image:
    """Convert to `mode` in bands of about a megapixel, so that no second and third copy of the image is needed."""
    if image.mode == "F":
        raise UnreadableImage("has floating point pixels; send 8 or 16 bits a channel")
    if image.mode == "I":
        least, most = cast(tuple[float, float], image.getextrema())  # a pair for each band where there are several
        if least < 0 or most > 65535:
            raise UnreadableImage("has 32-bit pixels; send 8 or 16 bits a channel")
    if image.mode == mode and not image.has_transparency_data:
        return image
    whole = Image.new(mode, image.size)
    rows = max(1, _BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(top + rows, image.height)))
        whole.paste(_band_to_mode(band, mode), (0, top))
    return whole


def _band_to_mode(image: Image.Image, mode: str) -> Image.Image:
    if image.mode.startswith("I"):  # I;16, I;16B, I;16L, and I, in which Pillow also gives 16-bit greys
        pixels = np.asarray(image).astype(np.int32)
        image = Image.fromarray(((pixels + 128) // 257).astype(np.uint8))  # 65535 = 255 x 257, so this rounds
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image).convert("RGB")
    return image.convert(mode)


def _reason(data: bytes, error: Exception) -> str:
    """What is wrong, in words that complete "the image ..."."""
    detail = str(error) or type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        for signature, name in _SIGNATURES.items():
            if data.startswith(signature):
                return f"is damaged or truncated (starts as a {name}, but {len(data)} bytes hold no whole header)"
        if unread := _unread_format(data):
            return f"is {unread}: export it as JPEG"
        return f"is not an image (starts with {data[:12]!r}); send one of {', '.join(FORMATS)}"
    if "truncated" in detail.lower():
        return f"is truncated ({len(data)} bytes arrived)"
    return f"is damaged ({detail})"


def _unread_format(data: bytes) -> str | None:
    """What a photo is that phones save and nothing here reads: by the first brand in its header that says so."""
    if data[4:8] != b"ftyp":
        return None
    brands = data[8 : min(int.from_bytes(data[:4], "big"), 256)]
    found = (_BRANDS.get(brands[start : start + 4]) for start in range(0, len(brands), 4))
    return next(filter(None, found), None)
