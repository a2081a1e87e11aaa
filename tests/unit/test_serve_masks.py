"""Masks for photos of any size: they match a slow reference, take bounded memory, and are stored as PNG files."""

import io
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from serve.artifact import InputSpec
from serve.preprocess import placed
from serve.tasks import masks


def padded(side: int) -> InputSpec:
    return InputSpec("data", 3, side, side, side, "pad", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def random_logits(classes: int, side: int, seed: int = 0, stride: int = 8) -> np.ndarray:
    """Return random logits, float32 (classes, side / stride, side / stride)."""
    return np.random.default_rng(seed).normal(0, 3, (classes, side // stride, side // stride)).astype(np.float32)


def weights(covered: int, pixels: int, stride: int) -> np.ndarray:
    """Return each cell's weight for each pixel according to the definition, float64 (pixels, cells).

    The weights form a triangle around the pixel's centre and cover only cells on the photo.
    """
    cells = [cell for cell in range(covered // stride + 1) if stride * (cell + 0.5) <= covered] or [0]
    size = covered / stride / pixels  # a pixel's side, in cells
    centres = (np.arange(pixels) + 0.5) * size
    distance = np.abs(np.array(cells) + 0.5 - centres[:, np.newaxis])
    triangle = np.maximum(0, 1 - distance / max(size, 1))
    return triangle / triangle.sum(axis=1, keepdims=True)


def reference_logits(logits: np.ndarray, size: tuple[int, int], side: int) -> np.ndarray:
    """Return the logits of each pixel, computed from the definition, float64 (C, H, W)."""
    stride = side // logits.shape[-1]
    across, down = (weights(*sides, stride) for sides in zip(placed(size, padded(side)), size, strict=True))
    return down @ logits[:, : down.shape[1], : across.shape[1]].astype(np.float64) @ across.T


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=0))
    return powers / powers.sum(axis=0)


def check(logits: np.ndarray, size: tuple[int, int], side: int) -> None:
    expected = reference_logits(logits, size, side)
    ids, probabilities = (compute(logits, size, padded(side)) for compute in (masks.class_ids, masks.probabilities))
    assert (ids.dtype, ids.shape) == (np.uint8, size[::-1])
    assert (probabilities.dtype, probabilities.shape) == (np.float32, expected.shape)
    np.testing.assert_allclose(probabilities, softmax(expected), atol=1e-5)
    # If two classes are almost equal, rounding in float32 may decide.
    best = np.take_along_axis(expected, ids[np.newaxis].astype(int), axis=0)[0]
    assert (expected.max(axis=0) - best).max() < 1e-5


@given(
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    cells=st.integers(1, 20),
    stride=st.sampled_from([1, 2, 4, 8]),
    classes=st.integers(2, 5),
    seed=st.integers(0, 99),
)
@settings(max_examples=100)
def test_masks_and_probabilities_of_photos_of_any_size_follow_the_definition(
    width: int, height: int, cells: int, stride: int, classes: int, seed: int
) -> None:
    check(random_logits(classes, 8 * cells, seed, stride), (width, height), 8 * cells)


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (7, 5000), (500, 375), (1501, 201), (20, 33)])
@pytest.mark.parametrize("side", [8, 128, 520])
def test_photos_of_unusual_shapes_follow_the_definition(size: tuple[int, int], side: int) -> None:
    check(random_logits(3, side), size, side)


@pytest.mark.parametrize("size", [(640, 320), (64, 32), (20, 10), (6, 3)])
def test_a_photo_that_ends_at_a_cell_gives_the_result_of_pillows_resize(size: tuple[int, int]) -> None:
    """The sizes are larger and smaller than the 16 x 8 cells."""
    logits = random_logits(3, 128)
    planes = [Image.fromarray(plane[:8]).resize(size, Image.Resampling.BILINEAR) for plane in logits]
    expected = softmax(np.stack([np.asarray(plane) for plane in planes]))
    np.testing.assert_allclose(masks.probabilities(logits, size, padded(128)), expected, atol=1e-5)


def test_the_edge_between_two_classes_is_at_its_position_in_the_photo() -> None:
    """Cells 0 and 1 have one class, and 2 and 3 the other, so the first 50 of 100 pixels have the first class."""
    logits = np.zeros((2, 4, 4), np.float32)
    logits[0, :, :2] = logits[1, :, 2:] = 5
    mask = masks.class_ids(logits, (100, 60), padded(32))
    assert (mask[:, :50] == 0).all()
    assert (mask[:, 50:] == 1).all()


def test_the_models_output_for_the_padding_does_not_change_the_photos_mask() -> None:
    """A photo of 64 x 36 pixels covers the upper half of the fifth row of cells."""
    for height, rows in ((36, 5), (35, 4), (1, 1)):
        logits = np.full((2, 8, 8), 100, np.float32)
        logits[0, rows:] = -100
        logits[1, :rows] = -100
        assert (masks.class_ids(logits, (64, height), padded(64)) == 0).all()


def test_the_lowest_class_wins_if_logits_are_equal() -> None:
    logits = np.zeros((5, 4, 4), np.float32)
    logits[0] = -1
    assert (masks.class_ids(logits, (33, 17), padded(32)) == 1).all()


def test_all_254_classes_can_win() -> None:
    logits = np.zeros((254, 16, 16), np.float32)
    for index in range(254):
        logits[index].flat[index] = 1
    mask = masks.class_ids(logits, (128, 128), padded(128))
    assert len(np.unique(mask)) == 254


def test_probabilities_of_very_certain_models_are_finite_and_sum_to_one() -> None:
    probabilities = masks.probabilities(random_logits(4, 64) * np.float32(1e4), (50, 40), padded(64))
    np.testing.assert_allclose(probabilities.sum(axis=0), 1, atol=1e-6)
    assert probabilities.min() >= 0


@pytest.mark.parametrize(("pixels", "width"), [(20, 7), (1000, 33), (1 << 30, 1 << 30)])
def test_the_mask_does_not_depend_on_the_size_of_the_tiles(
    monkeypatch: pytest.MonkeyPatch, pixels: int, width: int
) -> None:
    logits, size = random_logits(4, 64), (97, 61)
    whole = masks.class_ids(logits, size, padded(64)), masks.probabilities(logits, size, padded(64))
    monkeypatch.setattr(masks, "_TILE_PIXELS", pixels)
    monkeypatch.setattr(masks, "_TILE_WIDTH", width)
    assert (masks.class_ids(logits, size, padded(64)) == whole[0]).all()
    assert (masks.probabilities(logits, size, padded(64)) == whole[1]).all()


def peak_bytes(size: tuple[int, int], classes: int) -> int:
    """Return the peak of allocated bytes for a mask, without the mask itself."""
    logits = random_logits(classes, 520)
    tracemalloc.start()
    try:
        mask = masks.class_ids(logits, size, padded(520))
        return tracemalloc.get_traced_memory()[1] - mask.nbytes
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_photo_or_the_classes() -> None:
    """All logits at the size of the largest photo here would take 960 MB."""
    for size, classes in (((500, 375), 3), ((4000, 3000), 20), ((3_000_000, 1), 3), ((1, 3_000_000), 3)):
        assert peak_bytes(size, classes) < 8_000_000, (size, classes)


# --- the file -------------------------------------------------------------------------------------------------------


@given(width=st.integers(1, 80), height=st.integers(1, 80), classes=st.integers(1, 256), seed=st.integers(0, 2**32 - 1))
def test_the_pixels_of_the_file_are_the_class_ids_of_the_mask(width: int, height: int, classes: int, seed: int) -> None:
    mask = np.random.default_rng(seed).integers(0, classes, (height, width), dtype=np.uint8)
    data = masks.png(mask)
    assert data[24:26] == b"\x08\x03"  # bit depth and colour type, PNG 1.2, 4.1.1: 8 bits of a palette
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "P", (width, height))
        assert (np.asarray(image) == mask).all()


def test_each_class_has_a_distinct_colour_in_every_mask() -> None:
    with Image.open(io.BytesIO(masks.png(np.array([[2]], np.uint8)))) as image:
        assert bytes(image.getpalette()) == masks.PALETTE
    colours = [tuple(masks.PALETTE[start : start + 3]) for start in range(0, 768, 3)]
    assert len(set(colours)) == 256
    assert colours[255] == (255, 255, 255)


def test_the_first_classes_have_clearly_different_colours_brighter_than_class_0() -> None:
    colours = np.frombuffer(masks.PALETTE, np.uint8).reshape(256, 3)[:12].astype(float)
    distances = np.linalg.norm(colours[:, np.newaxis] - colours, axis=2) + 1000 * np.eye(12)
    assert distances.min() > 50
    brightness = colours @ [0.299, 0.587, 0.114]
    assert (brightness[1:] > brightness[0] + 40).all()


def test_a_typical_mask_is_encoded_quickly_into_a_small_file() -> None:
    """A pet with its border in front of a background, 500 x 375."""
    image = Image.new("L", (500, 375), 1)
    pen = ImageDraw.Draw(image)
    for ellipse in ((120, 60, 330, 300), (90, 40, 190, 140), (260, 40, 360, 140), (150, 200, 480, 370)):
        pen.ellipse([side + offset for side, offset in zip(ellipse, (-12, -12, 12, 12), strict=True)], fill=2)
    for ellipse in ((120, 60, 330, 300), (90, 40, 190, 140), (260, 40, 360, 140), (150, 200, 480, 370)):
        pen.ellipse(ellipse, fill=0)
    mask = np.asarray(image)
    start = time.process_time()
    assert len(masks.png(mask)) <= 20_000
    assert time.process_time() - start < 0.1
