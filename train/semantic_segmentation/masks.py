"""Read masks, PNG files whose pixels stand for classes, and the label maps that assign pixel values to classes.

NumPy and Pillow only. Class ids are 0 to num_classes - 1. IGNORE marks pixels that losses and metrics ignore.
"""

import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import PurePosixPath
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from serve.preprocess import MAX_PIXELS, Frame, UnreadableImage
from serve.words import plural
from train.data.channels import Channel
from train.errors import UserError
from train.log import LOG

IGNORE = 255
SUFFIX = ".png"
_VALUES = 256
_MAX_NAMED = 10
GAPS = 8  # with more classes than this per distinct pixel value, the values are probably colours
_MAP_FORM = '{"map": {"0": 5, "1": [0, 2]}} assigns the pixel value 5 to class 0, and 0 and 2 to class 1'
BINARY = 'if 255 is a class, provide a channel label_map with {"map": {"0": 0, "1": 255}}'
_SCALE_FORM = '{"scale": 3} assigns the pixel values 0, 1 and 2 to class 0, the next three to class 1, and so on'

# ---- label maps -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LabelMap:
    """The class of each pixel value: `table` int16 (256,). IGNORE means ignored; -1 means not in the map.

    `document` is the content of the map's file. `file` is its name in messages, or "" if there is no file.
    """

    document: dict[str, Any]
    file: str
    table: NDArray[np.int16]
    classes: int

    @property
    def known(self) -> NDArray[np.bool_]:
        """Return bool (256,): whether each pixel value is one of num_classes classes, or ignored."""
        return ((self.table >= 0) & (self.table < self.classes)) | (self.table == IGNORE)

    def apply(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Convert pixel values uint8 (H, W) to class ids uint8 (H, W). Values that are not `known` become IGNORE."""
        return np.where(self.known, self.table, IGNORE).astype(np.uint8)[pixels]


def load_map(channel: Channel | None, name: str, classes: int) -> LabelMap:
    """Like `find_map`, but also log the map and, if there is none, a warning."""
    label_map = find_map(channel, name, classes)
    if not label_map.file:
        LOG.warning("No %s in a channel label_map: the pixel values of the %s masks are class ids", _file(name), name)
    LOG.info("#label_map %s :%s", name, label_map.document)
    return label_map


def find_map(channel: Channel | None, name: str, classes: int) -> LabelMap:
    """Return the label map of the set `name`, train or validation, from the channel `label_map`.

    Without a file, pixel values are class ids. Raises UserError, with the file name, if the channel has a file for
    neither set, or if the file is not a valid label map.
    """
    file_name = _file(name)
    paths = {path.name: path for path in channel.files((".json",))} if channel else {}
    if channel and not {"train_label_map.json", "validation_label_map.json"} & set(paths):
        raise UserError(
            "channel 'label_map' must hold train_label_map.json, validation_label_map.json or both, but holds "
            f"{', '.join(sorted(paths)) or 'no .json file'}: rename the file, or remove the channel"
        )
    if channel and file_name in paths:
        path = channel.only_file(file_name)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise UserError(f"{channel.name_of(path)} cannot be read ({error}): fix its permissions") from None
        return parse_map(data, channel.name_of(path), classes)
    return LabelMap({"scale": 1}, "", _scaled(Decimal(1)), classes)


def _file(name: str) -> str:
    return f"{name}_label_map.json"


def parse_map(data: bytes, file: str, classes: int) -> LabelMap:
    """Parse a label map: {"scale": 3} or {"map": {class: pixel value or list of them}}, with numbers or strings.

    Raises UserError with `file`, the value and the fix.
    """
    try:
        document = json.loads(data, object_pairs_hook=lambda pairs: _unique(pairs, file))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is not JSON ({str(error)[:120]}): {_MAP_FORM}; {_SCALE_FORM}") from None
    if not isinstance(document, dict) or set(document) not in ({"map"}, {"scale"}):
        keys = ", ".join(map(_describe, document)) if isinstance(document, dict) else ""
        problem = f"has {keys or 'no key'}" if isinstance(document, dict) else f"is {_describe(document)}"
        raise UserError(
            f"{file} must be an object with the single key `map` or `scale` but {problem}: {_MAP_FORM}; {_SCALE_FORM}"
        )
    by_scale = "scale" in document
    table = _scaled(_scale(document["scale"], file)) if by_scale else _mapped(document["map"], file, classes)
    return LabelMap(document, file, table, classes)


def _unique(pairs: list[tuple[str, Any]], file: str) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise UserError(
            f'{file} has the key {_describe(repeated)} twice: use one list instead, such as {{"0": [5, 6]}}'
        )
    return unique


def _scale(value: Any, file: str) -> Decimal:
    text = str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
    if re.fullmatch(r"\s*[0-9]{1,3}(\.[0-9]{0,20})?\s*", text, re.ASCII) and 1 <= Decimal(text.strip()) <= IGNORE:
        return Decimal(text.strip())
    raise UserError(f"{file} has the scale {_describe(value)}: it must be a number from 1 to 255; {_SCALE_FORM}")


def _scaled(scale: Decimal) -> NDArray[np.int16]:
    table = np.array([int(pixel // scale) for pixel in range(_VALUES)], np.int16)
    table[IGNORE] = IGNORE
    return table


def _mapped(value: Any, file: str, classes: int) -> NDArray[np.int16]:
    if not isinstance(value, dict) or not value:
        raise UserError(f"{file} has a `map` that is {_describe(value)}: {_MAP_FORM}")
    table = np.full(_VALUES, -1, np.int16)
    table[IGNORE] = IGNORE
    owner: dict[int, int] = {}
    for key, values in value.items():
        label = _whole(key)
        if label is None or not (label < classes or label == IGNORE):
            raise UserError(
                f"{file} has the class {_describe(key)}: the keys of `map` are classes, 0 to {classes - 1} "
                f"(num_classes={classes}) or 255 for pixels to ignore, and their values are pixel values; {_MAP_FORM}"
            )
        for pixel in values if isinstance(values, list) else [values]:
            number = _whole(pixel)
            if number is None:
                raise UserError(
                    f"{file} has {_describe(pixel)} for class {label}: it must be a pixel value from 0 to 255, or a "
                    f"list of them; {_MAP_FORM}"
                )
            if owner.setdefault(number, label) != label:
                raise UserError(
                    f"{file} assigns the pixel value {number} to both class {owner[number]} and class {label}: "
                    "remove one of them"
                )
            table[number] = label
    return table


def _whole(value: Any) -> int | None:
    """Return a whole number from 0 to 255 from a JSON number or string; None for anything else."""
    if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,3}\s*", value, re.ASCII):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _VALUES or value % 1:
        return None
    return int(value)


def _describe(value: Any) -> str:
    """Return a JSON value for a message, or only its type if it is a list or an object."""
    kinds: dict[type, str] = {list: "a list", dict: "an object" if value else "an empty object"}
    return kinds.get(type(value)) or json.dumps(value)[:60]


# ---- one mask ---------------------------------------------------------------------------------------------------


class DecodedMask(NamedTuple):
    """The stored pixel values of a mask, uint8 (H, W), and whether they were extracted from an RGB image."""

    pixels: NDArray[np.uint8]
    repaired: bool


def decode(data: bytes) -> DecodedMask:
    """Return the stored pixel values of a PNG with 1, 2, 4, 8 or 16 bits, regardless of the colours in its palette.

    An RGB image is accepted if red, green and blue are equal in every pixel. Transparency is ignored. Raises
    UnreadableImage if the file is not a PNG, is truncated or damaged, has colours or values above 255, or has more than
    MAX_PIXELS pixels.
    """
    if not data:
        raise UnreadableImage("is empty (0 bytes)")
    if not data.startswith(b"\x89PNG"):
        raise UnreadableImage(
            f"is not a PNG (starts with {data[:8]!r}): save masks as PNG; do not convert a JPEG, because JPEG changes "
            "class ids"
        )
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # as in serve.preprocess: GluonCV, when imported, sets it
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if image.width * image.height > MAX_PIXELS:
                size = f"{image.width} x {image.height}"
                raise UnreadableImage(f"has {size} pixels, and the limit is {MAX_PIXELS} in total")
            if data[12:16] != b"IHDR":
                raise UnreadableImage("is damaged (the header is not the first chunk)")
            image.load()
            return _numbers(image, bits=data[24])
    except (UnreadableImage, MemoryError):
        raise
    # As in serve.preprocess: Pillow raises many kinds of errors for damaged files.
    except Exception as error:
        detail = str(error) or type(error).__name__
        problem = f"truncated ({len(data)} bytes)" if "truncated" in detail.lower() else f"damaged ({detail})"
        raise UnreadableImage(f"is {problem}") from error


def _numbers(image: Image.Image, bits: int) -> DecodedMask:
    if image.mode in ("1", "P"):
        return DecodedMask(np.asarray(image, np.uint8), False)
    if image.mode == "L":
        scale = 255 // (2**bits - 1)  # Pillow scales grey values of 2 and 4 bits to 0 to 255
        return DecodedMask(np.asarray(image) // np.uint8(scale) if scale > 1 else np.asarray(image), False)
    if image.mode.startswith("I"):
        pixels = np.asarray(image)
        if pixels.max() >= _VALUES:
            raise UnreadableImage(f"has the pixel value {pixels.max()}, but class ids end at 255: save it with 8 bits")
        return DecodedMask(pixels.astype(np.uint8), False)
    if bits == 16:
        raise UnreadableImage("is a colour picture with 16 bits per channel: save it with one channel of 8 bits")
    planes = np.asarray(image)
    if image.mode in ("RGB", "RGBA"):
        coloured = np.argwhere((planes[..., 1] != planes[..., 0]) | (planes[..., 2] != planes[..., 0]))
        if len(coloured):
            y, x = coloured[0]
            raise UnreadableImage(
                f"is a colour picture, {tuple(planes[y, x, :3].tolist())} in column {x} of row {y}: a mask has one "
                "number per pixel, its class; save these numbers (mode P or L), not colours"
            )
    return DecodedMask(np.ascontiguousarray(planes[..., 0]), True)


_UPRIGHT: Mapping[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {  # EXIF 2.32, tag Orientation
    2: lambda mask: mask[:, ::-1],
    3: lambda mask: mask[::-1, ::-1],
    4: lambda mask: mask[::-1],
    5: lambda mask: mask.T,
    6: lambda mask: mask[::-1].T,
    7: lambda mask: mask[::-1, ::-1].T,
    8: lambda mask: mask.T[::-1],
}


def place(mask: NDArray[np.uint8], frame: Frame) -> NDArray[np.uint8] | None:
    """Return a mask (H, W) for the upright photo; None if its size is not the photo's.

    A mask with the stored size of the photo is rotated like the photo. One with the upright size is already upright.
    """
    height, width = mask.shape
    if (width, height) == (frame.width, frame.height):
        rotate = _UPRIGHT.get(frame.orientation)
        return np.ascontiguousarray(rotate(mask) if rotate else mask)
    return mask if (width, height) == frame.upright else None


# ---- all masks of a set -----------------------------------------------------------------------------------------


def histogram(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the number of pixels with each value in a mask, uint8 (H, W): int64 (256,)."""
    return np.array(Image.fromarray(pixels).histogram()[:_VALUES], np.int64)


class Census:
    """Counts the pixel values in the masks of a set. Thread-safe."""

    def __init__(self, channel: str, label_map: LabelMap) -> None:
        self._channel, self._map = channel, label_map
        self._pixels = np.zeros(_VALUES, np.int64)
        self._masks = np.zeros(_VALUES, np.int64)
        self._first: dict[int, str] = {}
        self._lock = Lock()

    def add(self, name: str, pixels: NDArray[np.uint8]) -> None:
        """Count the pixel values of a mask, uint8 (H, W). `name` is its path in the channel."""
        self.count(name, histogram(pixels))

    def count(self, name: str, counts: NDArray[np.int64]) -> None:
        """Like `add`, for a mask whose `histogram` is known."""
        values = np.flatnonzero(counts).tolist()
        with self._lock:
            self._pixels += counts
            self._masks[values] += 1
            for value in values:
                self._first[value] = min(name, self._first.get(value, name))

    def classes(self) -> NDArray[np.int64]:
        """Return the number of pixels of each class, int64 (256,); at IGNORE, the number of ignored pixels."""
        counts = np.zeros(_VALUES, np.int64)
        np.add.at(counts, self._map.table[self._map.known], self._pixels[self._map.known])
        return counts

    def check(self) -> None:
        """Raise UserError, with files, values and the fix, if a pixel is not a valid class, or all are ignored."""
        unknown = np.flatnonzero((self._pixels > 0) & ~self._map.known).tolist()
        if unknown:
            raise UserError(self._unknown_values(unknown))
        counts = self.classes()
        if not counts[:IGNORE].any():
            raise UserError(f"every pixel in the masks of {self._channel!r} is ignored: {BINARY}")

    def require_classes(self, counts: NDArray[np.int64]) -> None:
        """Raise UserError if all pixels that count have the same class. Usually the other class was saved as 255.

        `counts`, int64 (256,), is the sum of `classes` over all hosts.
        """
        label, *others = np.flatnonzero(counts[:IGNORE])
        if others:
            return
        predicate = f"in the masks of {self._channel!r} are class {label}"
        if self._pixels[IGNORE] and self._map.table[IGNORE] == IGNORE:
            raise UserError(f"pixels with the value 255 are ignored, and all others {predicate}: {BINARY}")
        raise UserError(f"all pixels that count {predicate}: provide masks with at least two classes")

    def _unknown_values(self, values: list[int]) -> str:
        table, classes, first = self._map.table, self._map.classes, values[0]
        file = self._map.file
        masks = f"{self._channel}/{self._first[first]} has pixels with the value {first}"
        others = [
            f"{value} (masks: {self._masks[value]}, first {self._first[value]})" for value in values[1:_MAX_NAMED]
        ]
        more = f"; the same applies to {', '.join(others)}" if others else ""
        more += f" and {plural(len(values) - _MAX_NAMED, 'other value')}" if len(values) > _MAX_NAMED else ""
        if file and table[first] < 0:
            return (
                f"{masks}, which is not in {PurePosixPath(file).name}: add it to a class of `map`, or to the "
                f'key "255" to ignore it{more}'
            )
        needed = int(table[values].max()) + 1
        problem = f"{masks}, class {table[first]} according to {PurePosixPath(file).name}" if file else masks
        valid = f"num_classes={classes} has the classes 0 to {classes - 1} (255 is ignored)"
        return f"{problem}, but {valid}: {self._fix(needed)}{more}"

    def _fix(self, needed: int) -> str:
        """Return how to fix classes up to `needed` - 1. Values with wide gaps are probably colours of a palette."""
        assign = "provide a channel label_map that assigns pixel values to classes"
        enlarge = f"set num_classes={needed}"
        values = [value for value in np.flatnonzero(self._pixels).tolist() if value != IGNORE]
        if needed > GAPS * len(values):
            if len(values) <= self._map.classes:
                assign += f", as in {json.dumps({'map': dict(enumerate(values))})} for a palette saved as grey"
            return f"{assign}, or {enlarge}" if needed < IGNORE else assign
        return f"{enlarge}, or {assign}" if needed < IGNORE else assign
