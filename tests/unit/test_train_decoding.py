"""Training reads an image as the server will, even if a library changes Pillow's settings."""

import io
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from serve import preprocess
from train.data import samples
from train.errors import UserError


def truncated(form: str) -> bytes:
    """Return a photo of noise whose second half is missing."""
    data = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(data, form)
    return data.getvalue()[: len(data.getvalue()) // 2]


@pytest.fixture
def lenient_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set Pillow as `import gluoncv` does."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "BMP"])
def test_a_truncated_photo_is_rejected_even_if_a_library_lets_pillow_pad_it(form: str, lenient_pillow: None) -> None:
    with pytest.raises(preprocess.UnreadableImage, match=r"truncated|damaged"):
        preprocess.decode(truncated(form))


def test_truncated_photos_are_rejected_in_several_threads_at_once(lenient_pillow: None) -> None:
    data, refused, barrier = truncated("JPEG"), [], threading.Barrier(8)

    def decode() -> None:
        barrier.wait()
        for _ in range(25):
            try:
                preprocess.decode(data)
            except preprocess.UnreadableImage:
                refused.append(1)

    threads = [threading.Thread(target=decode) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 200


def test_all_truncated_photos_are_counted_even_if_a_library_lets_pillow_pad_them(lenient_pillow: None) -> None:
    photo = truncated("JPEG")
    cache = samples.SampleCache(lambda i: preprocess.decode(photo), samples.image_bytes, 1000)
    photos = [samples.Sample(f"{i}.jpg", 0, Path(f"{i}.jpg")) for i in range(5)]
    with pytest.raises(UserError, match="5 of 5 train images cannot be read"):
        samples.select_readable("train", photos, cache, 0.1)


def test_a_photo_in_heic_is_reported_with_its_format_and_the_fix(caplog: pytest.LogCaptureFixture) -> None:
    photo = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(50)
    cache = samples.SampleCache(lambda i: preprocess.decode(photo), samples.image_bytes, 1000)
    with pytest.raises(UserError) as refused:
        samples.select_readable("train", [samples.Sample("IMG_1.heic", 0, Path("IMG_1.heic"))], cache, 0.1)
    messages = f"{caplog.text}{refused.value}{refused.value.detail}"
    assert "IMG_1.heic" in messages
    assert "is a HEIC file, as saved by iPhones: export it as JPEG" in messages
