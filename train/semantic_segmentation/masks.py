"""Masks as users give them: PNG files whose pixels stand for classes, and the label maps that say for which.

NumPy and Pillow only. Class ids are 0 to num_classes - 1; IGNORE marks pixels that count in no loss and no metric.
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
_NAMED = 10
GAPS = 8  # times as many classes as there are values: what no list of classes has
_MAP_FORM = '{"map": {"0": 5, "1": [0, 2]}} makes the pixel value 5 class 0 and the values 0 and 2 class 1'
BINARY = 'if 255 is a class, say so in the channel label_map, as in {"map": {"0": 0, "1": 255}}'
_SCALE_FORM = '{"scale": 3} makes the pixel values 0, 1, 2 class 0, the next three class 1, and so on'

# ---- label maps -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LabelMap:
    """Which class each pixel value of a mask is: `table` int16 (256,), IGNORE among them, -1 where the map names none.

    `document` is the map as its file has it, `file` that file as its user knows it, "" where none was given.
    """

    document: dict[str, Any]
    file: str
    table: NDArray[np.int16]
    classes: int

    @property
    def known(self) -> NDArray[np.bool_]:
        """Return bool (256,): whether a pixel value is a class of num_classes, or ignored."""
        return ((self.table >= 0) & (self.table < self.classes)) | (self.table == IGNORE)

    def apply(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return class ids uint8 (H, W) of pixel values uint8 (H, W); what is not `known` becomes IGNORE."""
        return np.where(self.known, self.table, IGNORE).astype(np.uint8)[pixels]


def load_map(channel: Channel | None, name: str, classes: int) -> LabelMap:
    """As `find_map`, and log the map, or a warning that there is none."""
    found = find_map(channel, name, classes)
    if not found.file:
        LOG.warning(
            "No %s in a channel label_map: the pixel values of the %s masks are class ids", *(_file(name), name)
        )
    LOG.info("#label_map %s :%s", name, found.document)
    return found


def find_map(channel: Channel | None, name: str, classes: int) -> LabelMap:
    """Return the label map of the set `name`, train or validation, out of the channel `label_map`.

    Without its file pixel values are class ids. Raises UserError for a channel that holds neither set's file, and for a
    file that is no label map; it names the file.
    """
    wanted = _file(name)
    paths = {path.name: path for path in channel.files((".json",))} if channel else {}
    if channel and not {"train_label_map.json", "validation_label_map.json"} & set(paths):
        raise UserError(
            "channel 'label_map' must hold train_label_map.json, validation_label_map.json or both, and holds "
            f"{', '.join(sorted(paths)) or 'no .json file'}: rename the file, or remove the channel"
        )
    if channel and wanted in paths:
        path = channel.only_file(wanted)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise UserError(f"{channel.name_of(path)} cannot be read ({error}): fix its permissions") from None
        return parse_map(data, channel.name_of(path), classes)
    return LabelMap({"scale": 1}, "", _scaled(Decimal(1)), classes)


def _file(name: str) -> str:
    return f"{name}_label_map.json"


def parse_map(data: bytes, file: str, classes: int) -> LabelMap:
    """Read a label map's bytes: {"scale": 3} or {"map": {class: pixel value or a list of them}}, numbers or texts.

    Raises UserError naming `file`, the value and the fix.
    """
    try:
        document = json.loads(data, object_pairs_hook=lambda pairs: _unique(pairs, file))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is not JSON ({str(error)[:120]}): {_MAP_FORM}; {_SCALE_FORM}") from None
    if not isinstance(document, dict) or set(document) not in ({"map"}, {"scale"}):
        keys = ", ".join(map(_told, document)) if isinstance(document, dict) else "no object"
        raise UserError(
            f"{file} must be an object with the one key `map` or `scale` and has {keys or 'no key'}: "
            f"{_MAP_FORM}; {_SCALE_FORM}"
        )
    by_scale = "scale" in document
    table = _scaled(_scale(document["scale"], file)) if by_scale else _mapped(document["map"], file, classes)
    return LabelMap(document, file, table, classes)


def _unique(pairs: list[tuple[str, Any]], file: str) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f'{file} has the key {_told(twice)} twice: give one list instead, such as {{"0": [5, 6]}}')
    return found


def _scale(value: Any, file: str) -> Decimal:
    text = str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
    if re.fullmatch(r"\s*[0-9]{1,3}(\.[0-9]{0,20})?\s*", text, re.ASCII) and 1 <= Decimal(text.strip()) <= IGNORE:
        return Decimal(text.strip())
    raise UserError(f"{file} has the scale {_told(value)}: it must be a number from 1 to 255; {_SCALE_FORM}")


def _scaled(scale: Decimal) -> NDArray[np.int16]:
    table = np.array([int(pixel // scale) for pixel in range(_VALUES)], np.int16)
    table[IGNORE] = IGNORE
    return table


def _mapped(value: Any, file: str, classes: int) -> NDArray[np.int16]:
    if not isinstance(value, dict) or not value:
        raise UserError(f"{file} has a `map` that is {_told(value)}: {_MAP_FORM}")
    table = np.full(_VALUES, -1, np.int16)
    table[IGNORE] = IGNORE
    owner: dict[int, int] = {}
    for key, given in value.items():
        label = _whole(key)
        if label is None or not (label < classes or label == IGNORE):
            raise UserError(
                f"{file} has the class {_told(key)}: the keys of `map` are classes, 0 to {classes - 1} "
                f"(num_classes={classes}) or 255 for pixels to ignore, and their values are pixel values; {_MAP_FORM}"
            )
        for pixel in given if isinstance(given, list) else [given]:
            number = _whole(pixel)
            if number is None:
                raise UserError(
                    f"{file} has {_told(pixel)} for class {label}: it must be a pixel value of the masks, 0 to 255, or "
                    f"a list of them; {_MAP_FORM}"
                )
            if owner.setdefault(number, label) != label:
                raise UserError(
                    f"{file} makes the pixel value {number} both class {owner[number]} and class {label}: "
                    "leave one of them"
                )
            table[number] = label
    return table


def _whole(value: Any) -> int | None:
    """Return a whole number from 0 to 255, given as a number or as text; None for anything else."""
    if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,3}\s*", value, re.ASCII):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _VALUES or value % 1:
        return None
    return int(value)


def _told(value: Any) -> str:
    """Return a JSON value for a message; of a list or an object only what it is."""
    kinds: dict[type, str] = {list: "a list", dict: "an object" if value else "an empty object"}
    return kinds.get(type(value)) or json.dumps(value)[:60]


# ---- one mask ---------------------------------------------------------------------------------------------------


class DecodedMask(NamedTuple):
    """A mask as its file has it: pixel values uint8 (H, W), and whether they were taken out of a colour picture."""

    pixels: NDArray[np.uint8]
    repaired: bool


def decode(data: bytes) -> DecodedMask:
    """PNG bytes -> the numbers that are stored for its pixels, with 1, 2, 4, 8 or 16 bits, whatever their colours.

    A colour picture counts when red, green and blue are the same number in every pixel; transparency is passed over.
    Raises UnreadableImage: no PNG, truncated, damaged, colours, numbers above 255, or more than MAX_PIXELS pixels.
    """
    if not data:
        raise UnreadableImage("is empty (0 bytes)")
    if not data.startswith(b"\x89PNG"):
        raise UnreadableImage(
            f"is no PNG (starts with {data[:8]!r}): save masks as PNG, from the original ones where this was a JPEG, "
            "which changes class ids"
        )
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # as in serve.preprocess: GluonCV, when imported, sets it
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UnreadableImage(f"has {image.width} x {image.height} pixels, the limit is {MAX_PIXELS} in all")
            if data[12:16] != b"IHDR":
                raise UnreadableImage("is damaged (its header is not in its first place)")
            image.load()
            return _numbers(image, bits=data[24])
    except (UnreadableImage, MemoryError):
        raise
    # As in serve.preprocess: damaged bytes make Pillow raise errors of many kinds, and the reason is passed on.
    except Exception as error:
        detail = str(error) or type(error).__name__
        told = f"truncated ({len(data)} bytes)" if "truncated" in detail.lower() else f"damaged ({detail})"
        raise UnreadableImage(f"is {told}") from error


def _numbers(image: Image.Image, bits: int) -> DecodedMask:
    if image.mode in ("1", "P"):
        return DecodedMask(np.asarray(image, np.uint8), False)
    if image.mode == "L":
        spread = 255 // (2**bits - 1)  # Pillow spreads grey of 2 and 4 bits over 0 to 255
        return DecodedMask(np.asarray(image) // np.uint8(spread) if spread > 1 else np.asarray(image), False)
    if image.mode.startswith("I"):
        pixels = np.asarray(image)
        if pixels.max() >= _VALUES:
            raise UnreadableImage(f"has pixels of {pixels.max()} (16 bits), class ids end at 255: save it with 8 bits")
        return DecodedMask(pixels.astype(np.uint8), False)
    if bits == 16:
        raise UnreadableImage("is a colour picture with 16 bits a channel: save it with one channel of 8 bits")
    planes = np.asarray(image)
    if image.mode in ("RGB", "RGBA"):
        other = np.argwhere((planes[..., 1] != planes[..., 0]) | (planes[..., 2] != planes[..., 0]))
        if len(other):
            y, x = other[0]
            raise UnreadableImage(
                f"is a colour picture, {tuple(planes[y, x, :3].tolist())} in column {x} of row {y}: a mask holds one "
                "number for each pixel, its class; save the numbers (mode P or L), not the colours that stand for them"
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
    """Return a mask (H, W) as it lies on its upright photo; None when its size is not the photo's.

    A mask of the size that the photo is stored in is turned with it; one of the upright size is upright already.
    """
    height, width = mask.shape
    if (width, height) == (frame.width, frame.height):
        turn = _UPRIGHT.get(frame.orientation)
        return np.ascontiguousarray(turn(mask) if turn else mask)
    return mask if (width, height) == frame.upright else None


# ---- all masks of a set -----------------------------------------------------------------------------------------


def histogram(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return how many pixels of a mask, uint8 (H, W), have each value: int64 (256,)."""
    return np.array(Image.fromarray(pixels).histogram()[:_VALUES], np.int64)


class Census:
    """What the pixels of a set's masks are. Safe to call from several threads."""

    def __init__(self, channel: str, label_map: LabelMap) -> None:
        self._channel, self._map = channel, label_map
        self._pixels = np.zeros(_VALUES, np.int64)
        self._masks = np.zeros(_VALUES, np.int64)
        self._first: dict[int, str] = {}
        self._lock = Lock()

    def add(self, name: str, pixels: NDArray[np.uint8]) -> None:
        """Count a mask's pixel values, uint8 (H, W); `name` is its path in the channel."""
        self.count(name, histogram(pixels))

    def count(self, name: str, counts: NDArray[np.int64]) -> None:
        """As `add`, of a mask whose `histogram` is known."""
        found = np.flatnonzero(counts).tolist()
        with self._lock:
            self._pixels += counts
            self._masks[found] += 1
            for value in found:
                self._first[value] = min(name, self._first.get(value, name))

    def classes(self) -> NDArray[np.int64]:
        """Return how many pixels each class has, int64 (256,); of IGNORE how many are ignored."""
        counts = np.zeros(_VALUES, np.int64)
        np.add.at(counts, self._map.table[self._map.known], self._pixels[self._map.known])
        return counts

    def check(self) -> None:
        """Raise UserError when a pixel is no class, or all are ignored; it names files, values and the fix."""
        strange = np.flatnonzero((self._pixels > 0) & ~self._map.known).tolist()
        if strange:
            raise UserError(self._strange(strange))
        counts = self.classes()
        if not counts[:IGNORE].any():
            raise UserError(f"every pixel in the masks of {self._channel!r} is ignored: {BINARY}")

    def require_classes(self, counts: NDArray[np.int64]) -> None:
        """Raise UserError when all pixels that count are of one class; most often the other class is 255.

        `counts`, int64 (256,), are those of `classes`, of all hosts together.
        """
        label, *others = np.flatnonzero(counts[:IGNORE])
        if others:
            return
        what = f"in the masks of {self._channel!r} are class {label}"
        if self._pixels[IGNORE] and self._map.table[IGNORE] == IGNORE:
            raise UserError(f"pixels of 255 are ignored, and all others {what}: {BINARY}")
        raise UserError(
            f"all pixels that count {what}: there is nothing to tell apart; give masks of two classes or more"
        )

    def _strange(self, values: list[int]) -> str:
        table, classes, first = self._map.table, self._map.classes, values[0]
        file = self._map.file
        masks = f"{self._channel}/{self._first[first]} has pixels of the value {first}"
        others = [f"{value} (masks: {self._masks[value]}, first {self._first[value]})" for value in values[1:_NAMED]]
        more = f"; so it is with {', '.join(others)}" if others else ""
        more += f" and {plural(len(values) - _NAMED, 'other value')}" if len(values) > _NAMED else ""
        if file and table[first] < 0:
            return (
                f"{masks}, which {PurePosixPath(file).name} does not name: add it to a class of `map`, or to its "
                f'key "255" to ignore it{more}'
            )
        needed = int(table[values].max()) + 1
        told = f"{masks}, class {table[first]} by {PurePosixPath(file).name}" if file else masks
        return f"{told}, and num_classes={classes} has the classes 0 to {classes - 1} (255 is ignored): " + (
            f"{self._fix(needed)}{more}"
        )

    def _fix(self, needed: int) -> str:
        """Return what to do about classes up to `needed` - 1: numbers with wide gaps are colours of a palette."""
        say = "say in the channel label_map which pixel values are which class"
        enlarge = f"set num_classes={needed}"
        values = [value for value in np.flatnonzero(self._pixels).tolist() if value != IGNORE]
        if needed > GAPS * len(values):
            if len(values) <= self._map.classes:
                say += f", as in {json.dumps({'map': dict(enumerate(values))})} for a palette saved as grey"
            return f"{say}, or {enlarge}" if needed < IGNORE else say
        return f"{enlarge}, or {say}" if needed < IGNORE else say
