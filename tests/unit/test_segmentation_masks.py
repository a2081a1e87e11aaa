"""Label maps and masks: classes of pixel values, reading PNGs, placing masks on photos, and errors."""

import io
import json
import logging
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from serve import preprocess
from serve.preprocess import Frame, UnreadableImage
from train.data.channels import Channel
from train.errors import UserError
from train.semantic_segmentation import masks
from train.semantic_segmentation.masks import IGNORE, Census, LabelMap

FILE = "label_map/train_label_map.json"


def parse(document: Any, classes: int = 4) -> LabelMap:
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    return masks.parse_map(data, FILE, classes)


def applied(label_map: LabelMap, *values: int) -> list[int]:
    return label_map.apply(np.array([values], np.uint8))[0].tolist()


def outcome(call: Callable[..., Any], *arguments: Any) -> Any:
    """Return the parser's result, or the message of its error."""
    try:
        return call(*arguments)
    except (UserError, UnreadableImage) as error:
        return str(error)


# ---- label maps -------------------------------------------------------------------------------------------------


def test_a_map_has_classes_as_keys_and_pixel_values_as_values() -> None:
    assert applied(parse({"map": {"0": 5, "1": 0, "2": 2}}), 0, 5, 2) == [1, 0, 2]


@pytest.mark.parametrize("scale", [3, 3.0, "3", " 3.0 "])
def test_a_scale_divides_pixel_values_and_rounds_down(scale: Any) -> None:
    assert applied(parse({"scale": scale}), 0, 2, 3, 5, 11) == [0, 0, 1, 1, 3]


def test_a_fractional_scale_is_exact() -> None:
    assert applied(parse({"scale": "2.4"}), 2, 3, 7, 8) == [0, 1, 2, 3]
    assert parse({"scale": 2.55}, 254).table[:255].max() == 99  # 254 / 2.55
    assert parse({"scale": "1.1"}, 254).table[11] == 10, "11 / 1.1 is less than 10 in floating point"


@pytest.mark.parametrize("document", [{"scale": 1}, {"scale": 100}, {"map": {"0": 7}}])
def test_255_stays_ignored_after_mapping(document: Any) -> None:
    assert applied(parse(document), IGNORE) == [IGNORE]


def test_a_map_may_use_255_as_a_class_for_binary_masks() -> None:
    result = parse({"map": {"0": 0, "1": 255}})
    assert applied(result, 0, 255) == [0, 1]
    assert result.known.sum() == 2


def test_a_map_accepts_lists_strings_and_ignored_pixels() -> None:
    result = parse({"map": {"0": [1, "2", 3.0], "3": "9", "255": [0, 200]}})
    assert applied(result, 1, 2, 3, 9, 0, 200, 255) == [0, 0, 0, 3, 255, 255, 255]


def test_a_pixel_value_may_be_repeated_for_the_same_class() -> None:
    assert applied(parse({"map": {"0": [1, 1], "1": 2}}), 1, 2) == [0, 1]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_accepted(encoding: str) -> None:
    assert parse('{"scale": 2}'.encode(encoding)).document == {"scale": 2}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"", "is not JSON"),
        (b"\x89PNG", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        ([], "must be an object with the single key `map` or `scale` but is a list"),
        ({}, "must be an object with the single key `map` or `scale` but has no key"),
        ({"scale": 1, "map": {"0": 1}}, 'has "scale", "map": '),
        ({"Map": {"0": 1}}, 'has "Map": '),
        ({"scale": 0}, "has the scale 0: it must be a number from 1 to 255"),
        ({"scale": 256}, "has the scale 256"),
        ({"scale": True}, "has the scale true"),
        ({"scale": "three"}, 'has the scale "three"'),
        ({"scale": [3]}, "has the scale a list"),
        (b'{"scale": NaN}', "has the scale NaN"),
        (b'{"scale": 1e400}', "has the scale Infinity"),
        ({"map": {}}, "has a `map` that is an empty object"),
        ({"map": [1, 2]}, "has a `map` that is a list"),
        ({"map": {"4": 0}}, r'has the class "4": the keys of `map` are classes, 0 to 3 \(num_classes=4\) or 255'),
        ({"map": {"cat": 0}}, 'has the class "cat"'),
        ({"map": {"-1": 0}}, 'has the class "-1"'),
        ({"map": {"0": 256}}, "has 256 for class 0: it must be a pixel value from 0 to 255"),
        ({"map": {"0": -1}}, "has -1 for class 0"),
        ({"map": {"0": 0.5}}, "has 0.5 for class 0"),
        ({"map": {"0": None}}, "has null for class 0"),
        ({"map": {"0": [True]}}, "has true for class 0"),
        ({"map": {"0": {"a": 1}}}, "has an object for class 0"),
        ({"map": {"0": 5, "1": [4, 5]}}, "assigns the pixel value 5 to both class 0 and class 1: remove one of them"),
        (b'{"map": {"0": 5, "0": 6}}', 'has the key "0" twice: use one list instead'),
    ],
)
def test_an_invalid_label_map_is_rejected_with_name_value_and_format(document: Any, message: str) -> None:
    with pytest.raises(UserError, match=rf"^{FILE} .*{message}"):
        parse(document)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.integers(-1, 300).map(str),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=8,
)
KEYS = st.integers(-1, 300).map(str) | st.text(max_size=3)
DOCUMENT = st.fixed_dictionaries({}, optional={"scale": JSON, "map": st.dictionaries(KEYS, st.integers() | JSON)})


@given(st.binary() | (DOCUMENT | JSON).map(lambda value: json.dumps(value).encode()))
def test_any_file_gives_a_label_map_or_a_user_error(data: bytes) -> None:
    result = outcome(parse, data)
    if isinstance(result, str):
        assert result.startswith(FILE)
        result.encode()  # the message must be encodable
    else:
        assert (result.table.shape, result.table.dtype) == ((256,), np.int16)
        labels = result.apply(np.arange(256, dtype=np.uint8).reshape(16, 16))
        assert labels.dtype == np.uint8
        assert set(labels.ravel().tolist()) <= {0, 1, 2, 3, IGNORE}


@given(st.fractions(1, 255, max_denominator=1000).map(lambda scale: round(float(scale), 3)), st.integers(0, 254))
def test_a_scaled_pixel_value_is_the_floor_of_the_quotient(scale: float, pixel: int) -> None:
    thousandths = round(scale * 1000)
    assert parse({"scale": scale}).table[pixel] == pixel * 1000 // thousandths


def folder(base: Path, **files: str) -> Channel:
    for name, text in files.items():
        (base / f"{name}.json").write_text(text)
    return Channel("label_map", base, "")


def test_a_label_map_is_logged_as_in_the_built_in(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    channel = folder(tmp_path, train_label_map='{"scale": "3"}', validation_label_map='{"map": {"0": 5, "1": 0}}')
    with caplog.at_level(logging.INFO, "train"):
        for name in ("train", "validation"):
            assert masks.load_map(channel, name, 2).file == f"label_map/{name}_label_map.json"
    assert caplog.messages == ["#label_map train :{'scale': '3'}", "#label_map validation :{'map': {'0': 5, '1': 0}}"]


@pytest.mark.parametrize("has_train_map", [True, False])
def test_without_a_label_map_pixel_values_are_class_ids_with_a_warning(
    has_train_map: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    channel = folder(tmp_path, train_label_map='{"scale": 2}') if has_train_map else None
    with caplog.at_level(logging.INFO, "train"):
        result = masks.load_map(channel, "validation", 4)
    assert applied(result, 0, 1, 3, 255) == [0, 1, 3, 255]
    assert caplog.record_tuples == [
        (
            "train",
            logging.WARNING,
            "No validation_label_map.json in a channel label_map: the pixel values of the validation masks are "
            "class ids",
        ),
        ("train", logging.INFO, "#label_map validation :{'scale': 1}"),
    ]


def test_a_label_map_channel_without_label_maps_is_rejected_with_its_contents(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"channel 'label_map' must hold train_label_map\.json.* holds labels\.json: "):
        masks.load_map(folder(tmp_path, labels="{}"), "train", 2)


# ---- one mask ---------------------------------------------------------------------------------------------------

IDS = np.array([[0, 1, 2, 3], [3, 255, 1, 0], [9, 9, 200, 128]], np.uint8)


def png(image: Image.Image, **how: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, "PNG", **how)
    return data.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def raw_png(rows: list[bytes], width: int, bits: int, colour: int = 0) -> bytes:
    """Return a PNG with these rows. Pillow writes grey only with 1, 8 or 16 bits."""
    header = struct.pack(">IIBBBBB", width, len(rows), bits, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def palette(ids: np.ndarray) -> Image.Image:
    image = Image.fromarray(ids).convert("P")
    image.putpalette([(37 * i) % 256 for i in range(768)])
    image.putdata(ids.ravel().tolist())
    return image


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(png(Image.fromarray(IDS)), id="L"),
        pytest.param(png(palette(IDS)), id="P"),
        pytest.param(png(palette(IDS), transparency=0), id="P with a transparent class"),
        pytest.param(png(Image.fromarray(IDS), transparency=0), id="L with a transparent value"),
        pytest.param(png(Image.fromarray(IDS.astype(np.uint16))), id="I;16"),
    ],
)
def test_a_masks_pixels_are_the_stored_numbers_and_not_the_colours(data: bytes) -> None:
    result = masks.decode(data)
    assert result.pixels.tolist() == IDS.tolist()
    assert (result.pixels.dtype, result.repaired) == (np.uint8, False)


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("mode", ["L", "P"])
def test_masks_with_few_bits_have_the_stored_numbers(bits: int, mode: str) -> None:
    ids = np.arange(16, dtype=np.uint8).reshape(2, 8) % 2**bits
    packed = np.unpackbits(ids[..., None], axis=2)[..., -bits:].reshape(2, -1)
    rows = [row.tobytes() for row in np.packbits(packed, axis=1)]
    data = raw_png(rows, 8, bits) if mode == "L" else png(palette(ids), bits=bits)
    assert data[24] == bits
    assert masks.decode(data).pixels.tolist() == ids.tolist()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_a_colour_picture_with_equal_channels_is_converted(mode: str) -> None:
    result = masks.decode(png(Image.fromarray(IDS).convert(mode)))
    assert result.pixels.tolist() == IDS.tolist()
    assert result.repaired
    assert result.pixels.flags.c_contiguous


def coloured(mode: str) -> bytes:
    image = Image.fromarray(IDS).convert("RGB")
    image.putpixel((2, 1), (128, 0, 0))
    return png(image.convert(mode))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"\xff\xd8\xff\xe0 and so on", "is not a PNG .*save masks as PNG"),
        (png(Image.fromarray(IDS))[:20], "is (damaged|truncated)"),
        (
            png(Image.fromarray(np.random.default_rng(0).integers(0, 9, (99, 99)).astype(np.uint8)))[:900],
            "is truncated",
        ),
        (png(Image.fromarray(IDS)).replace(b"IHDR", b"IHDX"), "is damaged"),
        (coloured("RGB"), r"is a colour picture, \(128, 0, 0\) in column 2 of row 1: .*mode P or L"),
        (coloured("RGBA"), r"is a colour picture, \(128, 0, 0\)"),
        (png(Image.fromarray(IDS.astype(np.uint16) + 257)), r"has the pixel value 512, but class ids end at 255"),
        (raw_png([bytes([0, 3] * 3)], 1, 16, 2), "is a colour picture with 16 bits per channel"),
    ],
)
def test_a_file_that_is_not_a_mask_is_unreadable_with_a_reason(data: bytes, message: str) -> None:
    with pytest.raises(UnreadableImage, match=message):
        masks.decode(data)


def test_a_mask_above_the_size_limit_is_rejected_before_decoding() -> None:
    with pytest.raises(UnreadableImage, match="has 100000001 x 1 pixels, and the limit is 100000000 in total"):
        masks.decode(raw_png([b"too little"], 100_000_001, 8))


@given(st.binary(max_size=200), st.integers(0, 60), st.integers(0, 60))
def test_damaged_bytes_give_a_mask_or_unreadable_image(junk: bytes, begin: int, length: int) -> None:
    whole = png(palette(IDS))
    for data in (junk, whole[:begin] + junk + whole[begin + length :]):
        result = outcome(masks.decode, data)
        assert result.startswith(("is ", "has ")) if isinstance(result, str) else result.pixels.dtype == np.uint8


# ---- placing masks on photos ------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_mask_of_the_stored_size_is_rotated_with_its_photo(orientation: int) -> None:
    stored = np.arange(6 * 4, dtype=np.uint8).reshape(4, 6) * 10
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = png(Image.fromarray(stored), exif=exif)
    placed = masks.place(stored, preprocess.frame(data))
    assert placed.tolist() == np.asarray(preprocess.decode(data, 1)).tolist()
    assert placed.flags.c_contiguous


def test_a_mask_of_the_upright_size_is_not_changed() -> None:
    mask = np.arange(12, dtype=np.uint8).reshape(4, 3)
    assert masks.place(mask, Frame(4, 3, 6)).tolist() == mask.tolist()


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("size", [(5, 3), (4, 4), (40, 30)])
def test_a_mask_of_another_size_is_not_placed(size: tuple[int, int], orientation: int) -> None:
    assert masks.place(np.zeros(size[::-1], np.uint8), Frame(4, 3, orientation)) is None


def test_a_swapped_size_does_not_match_a_photo_that_is_not_rotated() -> None:
    assert masks.place(np.zeros((4, 3), np.uint8), Frame(4, 3, 1)) is None


# ---- all masks of a channel -------------------------------------------------------------------------------------


def census(label_map: LabelMap, **files: list[int]) -> Census:
    counted = Census("train_annotation", label_map)
    for name, values in files.items():
        counted.add(f"{name}.png", np.array([values], np.uint8))
    return counted


def test_pixels_are_counted_by_class() -> None:
    counts = census(parse({"map": {"0": [1, 2], "1": 7}}), a=[1, 1, 2, 7], b=[7, 255, 255]).classes()
    assert {label: int(count) for label, count in enumerate(counts) if count} == {0: 3, 1: 2, 255: 2}


def test_masks_with_known_pixel_values_are_accepted() -> None:
    census(parse({"scale": 1}), a=[0, 3, 255], b=[255]).check()


NO_MAP = LabelMap({"scale": 1}, "", np.arange(256, dtype=np.int16), 4)


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (
            lambda: census(parse({"scale": 1}, 2), a=[0, 255], b=[0, 0]),
            "pixels with the value 255 are ignored, and all others in the masks of 'train_annotation' are class 0: if "
            "255 is a "
            'class, provide a channel label_map with {"map": {"0": 0, "1": 255}}',
        ),
        (
            lambda: census(parse({"map": {"0": 0, "1": [7, 8]}}), a=[7], b=[8, 255]),
            "pixels with the value 255 are ignored, and all others in the masks of 'train_annotation' are class 1: if "
            "255 is a "
            'class, provide a channel label_map with {"map": {"0": 0, "1": 255}}',
        ),
        (
            lambda: census(parse({"map": {"1": 1, "255": 3}}), a=[1, 1], b=[1, 3]),
            "all pixels that count in the masks of 'train_annotation' are class 1: provide masks with at least two "
            "classes",
        ),
    ],
)
def test_masks_with_a_single_class_are_rejected(count: Any, message: str) -> None:
    counted = count()
    with pytest.raises(UserError) as caught:
        counted.require_classes(counted.classes())
    assert str(caught.value).startswith(message)


def test_masks_with_any_two_classes_are_accepted() -> None:
    counted = census(parse({"scale": 1}), a=[1], b=[3, 255])
    counted.require_classes(counted.classes())


@pytest.mark.parametrize(
    ("counted", "message"),
    [
        (
            census(NO_MAP, b=[4, 0], a=[4, 1], c=[9, 4]),
            r"^train_annotation/a\.png has pixels with the value 4, but num_classes=4 has the classes 0 to 3 \(255 is "
            r"ignored\): set num_classes=10, or provide .* label_map .*; the same applies to 9 \(masks: 1, first "
            r"c\.png\)$",
        ),
        (
            census(NO_MAP, a=[0, 38, 75], b=[113, 0, 255]),
            r"^train_annotation/a\.png has pixels with the value 38, but num_classes=4 has the classes 0 to 3 \(255 is "
            r"ignored\): provide a channel label_map that assigns pixel values to classes, as in "
            r'\{"map": \{"0": 0, "1": 38, "2": 75, "3": 113\}\} for a palette saved as grey, or set num_classes=114; ',
        ),
        (census(NO_MAP, a=[254]), r"0 to 3 \(255 is ignored\): provide a channel label_map"),
        (
            census(parse({"scale": 2}), a=[0, 8]),
            r"^train_annotation/a\.png has pixels with the value 8, class 4 according to train_label_map\.json, but "
            r"num_classes=4",
        ),
        (
            census(parse({"map": {"0": 5, "1": 0}}), a=[5, 0, 7], b=[8]),
            r"^train_annotation/a\.png has pixels with the value 7, which is not in train_label_map\.json: add it to "
            r'a class of `map`, or to the key "255" to ignore it; the same applies to 8 \(masks: 1, first b\.png\)$',
        ),
        (census(NO_MAP, a=list(range(4, 30))), r"13 \(masks: 1, first a\.png\) and 16 other values$"),
        (census(NO_MAP, a=[255]), r"^every pixel in the masks of 'train_annotation' is ignored: if 255 is a class"),
    ],
)
def test_pixel_values_without_a_class_are_rejected_with_file_value_and_fix(counted: Census, message: str) -> None:
    with pytest.raises(UserError, match=message):
        counted.check()
