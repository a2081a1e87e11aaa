"""From bytes to tensors: results calculated by hand for every kind of file, and errors for invalid bytes."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from serve import preprocess
from serve.artifact import InputSpec
from serve.preprocess import UnreadableImage

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def spec(height: int, width: int, rule: str = "crop", resize: int | None = None, channels: int = 3) -> InputSpec:
    """Return a specification with mean 0 and standard deviation 1, so that the tensor is pixel / 255."""
    size = resize or max(height, width)
    return InputSpec("data", channels, height, width, size, rule, (0.0,) * channels, (1.0,) * channels)


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pixel(data: bytes, channels: int = 3) -> object:
    return preprocess.decode(data, channels).getpixel((0, 0))


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """Return an image of smooth random colours, which JPEG and resizing hardly change."""
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


# --- kinds of pixels -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF"])
def test_each_format_is_recognised_by_its_bytes(kind: str) -> None:
    image = preprocess.decode(encode(Image.new("RGB", (20, 10), (255, 255, 255)), kind))
    assert (image.mode, image.size) == ("RGB", (20, 10))
    assert np.abs(np.asarray(image).astype(int) - 255).max() <= 1


@pytest.mark.parametrize(
    ("image", "rgb", "grey"),
    [
        (Image.new("L", (4, 4), 77), (77, 77, 77), 77),
        (Image.new("1", (4, 4), 1), WHITE, 255),
        (Image.new("RGB", (4, 4), RED), RED, 76),  # ITU-R 601: 0.299 x 255
        (Image.new("RGBA", (4, 4), (255, 0, 0, 0)), WHITE, 255),
        (Image.new("RGBA", (4, 4), (0, 0, 0, 51)), (204, 204, 204), 204),  # 0 x 0.2 + 255 x 0.8
        (Image.new("LA", (4, 4), (0, 51)), (204, 204, 204), 204),
        (Image.new("RGB", (4, 4), BLUE).quantize(4), BLUE, 29),
        (Image.new("I;16", (4, 4), 65535), WHITE, 255),
        (Image.new("I;16", (4, 4), 257 * 100), (100, 100, 100), 100),
        (Image.new("I;16", (4, 4), 257 * 100 + 128), (100, 100, 100), 100),
        (Image.new("I;16", (4, 4), 257 * 100 + 129), (101, 101, 101), 101),
    ],
    ids=["L", "1", "RGB", "clear", "RGBA", "LA", "P", "16-bit-white", "16-bit", "16-bit-down", "16-bit-up"],
)
def test_pixels_of_every_mode_become_their_colour_on_white(image: Image.Image, rgb: tuple[int, ...], grey: int) -> None:
    data = encode(image)
    assert pixel(data) == rgb
    assert pixel(data, channels=1) == grey


def test_a_palette_with_transparency_is_composited_on_white() -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.putpixel((1, 0), 1)
    for data in (encode(image, "PNG", transparency=0), encode(image, "GIF", transparency=0)):
        decoded = preprocess.decode(data)
        assert (decoded.getpixel((0, 0)), decoded.getpixel((1, 0))) == (WHITE, GREEN)


def test_the_transparent_colour_of_an_rgb_png_becomes_white() -> None:
    image = Image.new("RGB", (2, 1), RED)
    image.putpixel((1, 0), BLUE)
    decoded = preprocess.decode(encode(image, "PNG", transparency=RED))
    assert [decoded.getpixel((x, 0)) for x in (0, 1)] == [WHITE, BLUE]


def test_a_cmyk_photo_keeps_its_colours() -> None:
    data = encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=100)  # no cyan: red
    assert np.abs(np.array(pixel(data)) - RED).max() <= 3


def test_16_bit_colours_are_scaled_and_not_clipped(tmp_path: Path) -> None:
    # A binary 16-bit PPM (netpbm's ppm(5)): one pixel of 100/255, 200/255 and 255/255.
    data = b"P6 1 1 65535\n" + np.array([100 * 257, 200 * 257, 65535], ">u2").tobytes()
    assert pixel(data) == (100, 200, 255)
    grey = b"P5 1 1 65535\n" + np.array([100 * 257], ">u2").tobytes()
    assert pixel(grey) == (100, 100, 100)


def test_the_first_frame_of_an_animation_is_used() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, GREEN)]
    for kind in ("GIF", "WEBP", "TIFF"):
        decoded = pixel(encode(frames[0], kind, save_all=True, append_images=frames[1:]))
        assert np.abs(np.array(decoded) - RED).max() <= 2, kind


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("short_side", [None, 16])
def test_a_photo_is_upright_for_each_exif_orientation(orientation: int, short_side: int | None) -> None:
    """The corners of the upright picture are red (top left), green (top right), blue (bottom left) and white."""
    upright = Image.new("RGB", (64, 32))
    for colour, box in ((RED, (0, 0)), (GREEN, (32, 0)), (BLUE, (0, 16)), (WHITE, (32, 16))):
        upright.paste(colour, (*box, box[0] + 32, box[1] + 16))
    stored = {  # how a camera stores the picture for each orientation: the inverse of EXIF 2.32's table
        1: upright,
        2: upright.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: upright.transpose(Image.Transpose.ROTATE_180),
        4: upright.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: upright.transpose(Image.Transpose.TRANSPOSE),
        6: upright.transpose(Image.Transpose.ROTATE_90),
        7: upright.transpose(Image.Transpose.TRANSVERSE),
        8: upright.transpose(Image.Transpose.ROTATE_270),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = preprocess.decode(encode(stored, "JPEG", quality=100, subsampling=0, exif=exif), short_side=short_side)
    scale = 1 if short_side is None else 2
    assert decoded.size == (64 // scale, 32 // scale)
    corners = [decoded.getpixel((x // scale, y // scale)) for x, y in ((8, 8), (48, 8), (8, 24), (48, 24))]
    assert np.abs(np.array(corners) - [RED, GREEN, BLUE, WHITE]).max() <= 6


@pytest.mark.filterwarnings("ignore:.*EXIF data:UserWarning")
def test_damaged_exif_leaves_the_photo_as_stored() -> None:
    data = encode(Image.new("RGB", (16, 8), RED), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 40)
    assert preprocess.decode(data).size == (16, 8)


# --- reduced decoding -----------------------------------------------------------------------------------------------


@given(width=st.integers(1, 700), height=st.integers(1, 700), short_side=st.integers(1, 300))
@settings(max_examples=60)
def test_a_reduced_jpeg_still_covers_the_requested_side(width: int, height: int, short_side: int) -> None:
    data = encode(Image.new("RGB", (width, height)), "JPEG")
    reduced = preprocess.decode(data, short_side=short_side)
    assert min(reduced.size) >= min(short_side, width, height)
    assert reduced.width / width == pytest.approx(reduced.height / height, abs=1 / min(width, height))


@given(width=st.integers(1, 700), height=st.integers(1, 700), long_side=st.integers(1, 300))
@settings(max_examples=60)
def test_a_reduced_jpeg_still_has_the_requested_longer_side(width: int, height: int, long_side: int) -> None:
    data = encode(Image.new("RGB", (width, height)), "JPEG")
    reduced = preprocess.decode(data, long_side=long_side)
    assert max(reduced.size) >= min(long_side, max(width, height))
    assert reduced.width / width == pytest.approx(reduced.height / height, abs=1 / min(width, height))


def test_a_photo_can_be_reduced_by_its_longer_side() -> None:
    data = encode(noise(1600, 320), "JPEG")
    assert preprocess.decode(data, long_side=200).size == (200, 40)
    assert preprocess.decode(data, short_side=200).size == (1600, 320)


def test_a_large_jpeg_is_decoded_at_an_eighth_and_looks_the_same() -> None:
    photo = noise(1600, 1200)
    data = encode(photo, "JPEG", quality=95)
    assert preprocess.decode(data, short_side=150).size == (200, 150)
    full, reduced = (
        preprocess.to_tensor(preprocess.fit(preprocess.decode(data, short_side=side), s), s)
        for side, s in ((None, spec(128, 128)), (128, spec(128, 128)))
    )
    assert np.abs(full - reduced).max() < 4 / 255


# --- geometry and numbers -------------------------------------------------------------------------------------------


SIDES = {name: st.integers(1, 300) for name in ("width", "height")}
CROPS = {name: st.integers(1, 60) for name in ("crop_height", "crop_width")}


@given(**SIDES, side=st.integers(1, 120), margin=st.integers(0, 40))
@settings(max_examples=100)
def test_for_a_square_crop_the_shorter_side_becomes_resize_and_the_aspect_ratio_is_kept(
    width: int, height: int, side: int, margin: int
) -> None:
    resize, short = side + margin, min(width, height)
    expected = (round(width * resize / short), round(height * resize / short))
    assert preprocess.covering((width, height), resize, side, side) == expected
    assert min(expected) == resize


@given(**SIDES, **CROPS, margin=st.integers(0, 40))
@settings(max_examples=200)
def test_an_image_is_resized_just_enough_to_cover_the_crop_and_reach_resize(
    width: int, height: int, crop_height: int, crop_width: int, margin: int
) -> None:
    resize = min(crop_height, crop_width) + margin
    wide, high = preprocess.covering((width, height), resize, crop_height, crop_width)
    assert wide >= crop_width
    assert high >= crop_height
    assert min(wide, high) >= resize
    assert wide == crop_width or high == crop_height or min(wide, high) == resize
    # One side is exact, and the other is rounded.
    assert (
        abs(wide / width - high / height) <= 0.5 / min(width, height) + 1e-12
    )  # half a pixel, plus floating-point error


@pytest.mark.parametrize(
    ("size", "crop", "resize", "expected"),
    [
        ((1280, 720), (405, 720), 405, (720, 405)),
        ((128, 72), (72, 128), 72, (128, 72)),
        ((72, 128), (128, 72), 72, (72, 128)),
        ((500, 375), (72, 128), 72, (128, 96)),
        ((500, 375), (72, 128), 144, (192, 144)),
        ((375, 500), (72, 128), 72, (128, 171)),
    ],
)
def test_photos_are_resized_to_these_sizes_before_a_crop_that_is_not_square(
    size: tuple[int, int], crop: tuple[int, int], resize: int, expected: tuple[int, int]
) -> None:
    assert preprocess.covering(size, resize, *crop) == expected


@pytest.mark.parametrize(("height", "width"), [(72, 128), (128, 72), (96, 96)])
def test_a_picture_of_exactly_the_crops_size_is_unchanged(height: int, width: int) -> None:
    picture = noise(width, height)
    fitted = preprocess.fit(picture, spec(height, width, resize=min(height, width)))
    assert np.array_equal(np.asarray(fitted), np.asarray(picture))


@given(width=st.integers(2, 200), height=st.integers(2, 200), **CROPS, margin=st.integers(0, 20))
@settings(max_examples=100)
def test_the_crop_is_the_centre_of_the_image_that_training_crops(
    width: int, height: int, crop_height: int, crop_width: int, margin: int
) -> None:
    photo, target = noise(width, height), spec(crop_height, crop_width, resize=min(crop_height, crop_width) + margin)
    whole = preprocess.cover(photo, target.resize, crop_height, crop_width)
    left, top = (whole.width - crop_width) // 2, (whole.height - crop_height) // 2
    expected = np.asarray(whole.crop((left, top, left + crop_width, top + crop_height))).astype(int)
    # Both passes round, and Pillow keeps coordinates as float32, so values may differ by a few of 255. A crop that is
    # one pixel off would differ by tens.
    assert np.abs(np.asarray(preprocess.fit(photo, target)).astype(int) - expected).max() <= 3


@pytest.mark.parametrize(("height", "width"), [(40, 200), (200, 40)])
def test_a_jpeg_is_decoded_large_enough_for_a_crop_that_is_not_square(height: int, width: int) -> None:
    """The shorter side of 40 pixels allows decoding at an eighth, but 80 x 60 pixels would then have to be enlarged."""
    photo = noise(640, 480)
    target = spec(height, width, resize=40)
    read = preprocess.load(encode(photo, "JPEG", quality=100, subsampling=0), target)
    assert np.abs(read - preprocess.to_tensor(preprocess.fit(photo, target), target)).max() < 12 / 255


def test_the_crop_takes_the_middle_one_of_three_stripes() -> None:
    image = Image.new("RGB", (96, 32), RED)
    image.paste(GREEN, (32, 0, 64, 32))
    image.paste(BLUE, (64, 0, 96, 32))
    cropped = np.asarray(preprocess.fit(image, spec(32, 32)))
    assert (cropped == GREEN).all()


def test_stretching_keeps_the_whole_image_and_ignores_the_aspect_ratio() -> None:
    image = Image.new("RGB", (96, 32), RED)
    image.paste(BLUE, (48, 0, 96, 32))
    stretched = preprocess.fit(image, spec(16, 16, "stretch"))
    assert stretched.size == (16, 16)
    assert (stretched.getpixel((0, 8)), stretched.getpixel((15, 8))) == (RED, BLUE)


def test_the_tensor_is_normalised_float32_with_channels_first() -> None:
    image = Image.new("RGB", (2, 3), (51, 102, 255))
    target = InputSpec("data", 3, 3, 2, 3, "crop", (0.2, 0.2, 0.5), (0.5, 0.1, 0.25))
    tensor = preprocess.to_tensor(image, target)
    assert (tensor.shape, tensor.dtype) == ((3, 3, 2), np.float32)
    assert tensor.flags.c_contiguous
    np.testing.assert_allclose(tensor[:, 0, 0], [0.0, 2.0, 2.0], atol=1e-6)


def test_the_tensor_equals_the_formula_to_the_last_bit() -> None:
    target = InputSpec("data", 3, 16, 16, 16, "stretch", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    pixels = np.random.default_rng(0).permutation(256 * 3).astype(np.uint8).reshape(16, 16, 3)
    mean, std = np.float32(target.mean), np.float32(target.std)
    by_formula = (pixels.astype(np.float32) / np.float32(255) - mean) / std
    assert (preprocess.to_tensor(Image.fromarray(pixels), target) == by_formula.transpose(2, 0, 1)).all()


def padded(side: int, channels: int = 3) -> InputSpec:
    """Return a specification with padding and ImageNet's mean, so that black is not 0."""
    mean, std = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)) if channels == 3 else ((0.449,), (0.226,))
    return InputSpec("data", channels, side, side, side, "pad", mean, std)


@pytest.mark.parametrize(
    ("size", "side", "expected"),
    [
        ((500, 375), 520, (520, 390)),
        ((375, 500), 520, (390, 520)),
        ((500, 375), 128, (128, 96)),
        ((301, 400), 128, (96, 128)),  # 96.32
        ((303, 400), 128, (97, 128)),  # 96.96
        ((64, 64), 64, (64, 64)),
        ((1, 1), 64, (64, 64)),
        ((3, 2), 64, (64, 43)),  # 42.67
        ((1, 3000), 64, (1, 64)),
        ((3000, 1), 64, (64, 1)),
    ],
)
def test_the_longer_side_of_a_padded_photo_fills_the_input_and_the_other_has_at_least_one_pixel(
    size: tuple[int, int], side: int, expected: tuple[int, int]
) -> None:
    assert preprocess.placed(size, padded(side)) == expected
    tensor = preprocess.load(encode(Image.new("RGB", size, RED)), padded(side))
    across, down = expected
    assert tensor.shape == (3, side, side)
    assert (tensor[:, :down, :across] == tensor[:, :1, :1]).all()
    assert tensor[0, 0, 0] == pytest.approx((1 - 0.485) / 0.229)
    assert (tensor[:, down:] == 0).all()
    assert (tensor[:, :, across:] == 0).all()


@given(width=st.integers(1, 200), height=st.integers(1, 200), side=st.integers(1, 12))
@settings(max_examples=60)
def test_a_padded_photo_is_the_whole_photo_resized(width: int, height: int, side: int) -> None:
    photo, target = noise(width, height), padded(8 * side)
    expected = photo.resize(preprocess.placed(photo.size, target), Image.Resampling.BILINEAR)
    tensor, size = preprocess.load_sized(encode(photo), target)
    assert size == (width, height)
    inside = tensor[:, : expected.height, : expected.width]
    assert not tensor[:, expected.height :].any()
    assert not tensor[:, :, expected.width :].any()
    np.testing.assert_allclose(
        inside.transpose(1, 2, 0) * np.float32(target.std) + np.float32(target.mean),
        np.asarray(expected) / 255,
        atol=1e-6,
    )


@pytest.mark.parametrize(("width", "height"), [(1000, 9), (9, 1000), (1001, 995), (2049, 700)])
def test_a_reduced_jpeg_gets_the_padding_of_the_full_photo(width: int, height: int) -> None:
    """An eighth of 1000 x 9 pixels is 125 x 2, which would become 120 x 2. The photo itself becomes 120 x 1."""
    target = padded(120)
    data = encode(noise(width, height), "JPEG", quality=95)
    assert max(preprocess.decode(data, long_side=120).size) < max(width, height)
    cut = preprocess.cut(data, target)
    assert cut.size == preprocess.placed((width, height), target)
    assert (preprocess.to_tensor(cut, target) == preprocess.load(data, target)).all()
    whole = preprocess.to_tensor(preprocess.fit(preprocess.decode(data), target), target)
    assert np.abs(whole - preprocess.load(data, target)).mean() < 4 / 255 / 0.22


def test_a_photo_of_one_channel_is_padded_with_its_mean_too() -> None:
    tensor = preprocess.load(encode(Image.new("L", (40, 20), 255)), padded(16, channels=1))
    assert tensor.shape == (1, 16, 16)
    assert tensor[0, :8] == pytest.approx((1 - 0.449) / 0.226)
    assert (tensor[0, 8:] == 0).all()


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_an_image_for_a_model_of_one_channel_is_decoded_to_one_channel(kind: str) -> None:
    tensor = preprocess.load(encode(Image.new("L", (40, 30), 51), kind), spec(8, 8, channels=1))
    assert tensor.shape == (1, 8, 8)
    np.testing.assert_allclose(tensor, 0.2, atol=1e-6)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize(("width", "height"), [(100, 60), (101, 100)])
def test_the_size_returned_with_the_tensor_is_that_of_the_upright_photo(
    orientation: int, kind: str, width: int, height: int
) -> None:
    """A JPEG of this size is decoded at an eighth, where 101 x 100 and 100 x 101 give the same size."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(noise(width, height), kind, exif=exif)
    upright = (width, height) if orientation < 5 else (height, width)
    assert preprocess.decode(data).size == upright
    tensor, size = preprocess.load_sized(data, spec(6, 6, "stretch"))
    assert size == upright
    assert (tensor == preprocess.load(data, spec(6, 6, "stretch"))).all()


def test_load_equals_decode_then_fit_then_to_tensor() -> None:
    data, target = encode(noise(90, 70)), spec(24, 20, resize=32)
    expected = preprocess.to_tensor(preprocess.fit(preprocess.decode(data), target), target)
    np.testing.assert_array_equal(preprocess.load(data, target), expected)


# --- bad bytes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"hello world", r"is not an image \(starts with b'hello world'\)"),
        (b'{"a": 1}', "is not an image"),
        (b"\x89PNG\r\n\x1a\n", "starts like a PNG"),
        (b"\xff\xd8\xff", "starts like a JPEG"),
        (b"GIF89a", "starts like a GIF"),
    ],
)
def test_the_reason_says_what_is_wrong_with_the_bytes(data: bytes, message: str) -> None:
    with pytest.raises(UnreadableImage, match=message):
        preprocess.decode(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_truncated_file_is_rejected_and_not_filled_with_grey(kind: str) -> None:
    data = encode(noise(300, 200), kind)
    with pytest.raises(UnreadableImage, match=f"is truncated .{len(data) // 2} bytes arrived"):
        preprocess.decode(data[: len(data) // 2])


def test_an_image_beyond_the_pixel_limit_is_rejected_before_it_is_decoded() -> None:
    bomb = encode(Image.new("1", (20000, 20000)))
    assert len(bomb) < 100_000
    with pytest.raises(UnreadableImage, match="has 20000 x 20000 pixels, and the limit is 100000000"):
        preprocess.decode(bomb)
    small = encode(Image.new("L", (10, 10)))
    assert preprocess.decode(small, max_pixels=100).size == (10, 10)
    with pytest.raises(UnreadableImage, match="has 10 x 10 pixels, and the limit is 99"):
        preprocess.load(small, spec(4, 4), max_pixels=99)


def test_a_narrow_strip_cannot_take_gigabytes() -> None:
    strip = Image.new("RGB", (100_000, 1), RED)
    assert (preprocess.load(encode(strip), spec(32, 32, resize=256))[0] == 1).all()
    with pytest.raises(UnreadableImage, match="is too narrow"):
        preprocess.cover(strip, 256, 32, 32)


def test_floating_point_and_32_bit_images_are_rejected_with_the_fix() -> None:
    for image, message in ((Image.new("F", (2, 2), 0.5), "floating-point"), (Image.new("I", (2, 2), 70000), "32-bit")):
        with pytest.raises(UnreadableImage, match=f"{message}.*; send 8 or 16 bits"):
            preprocess.decode(encode(image, "TIFF"))


@given(data=st.data(), kind=st.sampled_from(["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM"]))
@settings(max_examples=300)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_bytes_give_an_image_or_the_error_unreadable_image(data: st.DataObject, kind: str) -> None:
    damaged = bytearray(encode(noise(40, 30), kind))
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    target = spec(8, 8)
    try:
        tensor = preprocess.load(bytes(damaged[: data.draw(st.integers(1, len(damaged)))]), target)
    except UnreadableImage:
        return
    assert tensor.shape == (3, 8, 8)


@given(data=st.binary(max_size=200))
def test_arbitrary_bytes_are_rejected_with_a_reason(data: bytes) -> None:
    with pytest.raises(UnreadableImage, match=r"^(is|has) "):
        preprocess.decode(data)


# --- real photos ----------------------------------------------------------------------------------------------------


def test_every_real_photo_is_read_and_other_files_are_rejected(pets: Path) -> None:
    target = spec(64, 64, resize=72)
    refused = []
    for path in sorted((pets / "images").iterdir()):
        try:
            assert preprocess.load(path.read_bytes(), target).shape == (3, 64, 64)
        except UnreadableImage:
            refused.append(path.suffix)
    assert refused, "the data set is known to hold a .mat among its images"
    assert set(refused) == {".mat"}
