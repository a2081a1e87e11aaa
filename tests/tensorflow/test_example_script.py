"""Preprocessing in examples/cat_or_dog/train.py and in the notebook that sends photos to its model."""

import ast
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from local.datasets.drawn import draw
from local.datasets.drawn.breeds import BREEDS
from tests.notebooks import EXAMPLES, code

SIDE = 96


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script, imported as a module."""
    monkeypatch.setenv("SM_CHANNEL_TRAINING", "")
    monkeypatch.setenv("SM_MODEL_DIR", "")
    spec = importlib.util.spec_from_file_location("cat_or_dog", EXAMPLES / "cat_or_dog" / "train.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # TensorFlow looks here for the source of a function
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def sent() -> Callable[[Path], np.ndarray]:
    """The notebook's function that converts a photo into the values of a request."""
    cell = ast.parse(code("image-classification-tensorflow", ["predict"]))
    [function] = [node for node in cell.body if isinstance(node, ast.FunctionDef)]
    names: dict[str, Any] = {"np": np, "Image": Image, "Path": Path, "IMAGE_SIZE": SIDE}
    exec(ast.unparse(function), names)
    return names[function.name]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders with four drawn photos per class."""
    folder = tmp_path_factory.mktemp("photos")
    for species in ("cat", "dog"):
        (folder / species).mkdir()
        breed = next(breed for breed in BREEDS if breed.species == species)
        for number in range(4):
            draw.picture(breed, np.random.default_rng(number)).photo.save(folder / species / f"{number}.jpg")
    return folder


def test_each_epoch_of_the_script_has_all_photos_in_a_new_order(script: Any, photos: Path) -> None:
    batches = script.photos(str(photos), SIDE, 4, shuffle=True)
    first, second = ([float(mean) for pixels, _ in batches for mean in pixels.numpy().mean((1, 2, 3))] for _ in "12")
    assert len(first) == 8
    assert first != second
    assert sorted(first) == pytest.approx(sorted(second))


def test_the_notebook_sends_the_pixels_that_the_script_trains_on(
    script: Any, sent: Callable[[Path], np.ndarray], photos: Path
) -> None:
    files = sorted(photos.glob("*/*.jpg"))
    read = np.concatenate([pixels.numpy() for pixels, _ in script.photos(str(photos), SIDE, 4, shuffle=False)])
    for file, pixels in zip(files, read, strict=True):
        resized = np.asarray(Image.open(file).resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32) / 255
        # The two libraries decode a JPEG slightly differently. Pillow's `resize` differs more, because it smooths.
        assert 255 * np.abs(sent(file)[0] - pixels).mean() < 1.5 < 255 * np.abs(resized - pixels).mean()


def test_the_exported_model_is_deterministic_and_predicts_as_in_validation(script: Any, tmp_path: Path) -> None:
    model = script.network(SIDE)
    pixels = np.random.default_rng(0).random((3, SIDE, SIDE, 3), np.float32)
    model(pixels, training=True)  # changes BatchNorm's statistics
    validated = model(pixels, training=False).numpy()
    model.export(tmp_path / "model", verbose=False)
    exported = tf.saved_model.load(str(tmp_path / "model"))
    once, again = (np.concatenate([exported.serve(photo[None]) for photo in pixels]) for _ in range(2))
    assert np.array_equal(once, again)
    assert once == pytest.approx(validated, abs=1e-4)
