"""What the test of examples/cat_or_dog/train.py runs in TensorFlow's environment: no pytest at the top."""

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

SIDE = 96


def orders(script: str, folder: str) -> list[list[float]]:
    """The mean of each training photo, in the order of two epochs."""
    batches = _module(script).photos(folder, SIDE, 4, shuffle=True)
    return [[float(mean) for pixels, _ in batches for mean in pixels.numpy().mean(axis=(1, 2, 3))] for _ in range(2)]


def differences(script: str, notebook_function: str, folder: str) -> list[tuple[float, float]]:
    """Of each photo of the class folders: the mean difference, 0 to 255, of its pixels in the script.

    To what the notebook sends, and to what Pillow's `resize` would make of it, which smooths.
    """
    from PIL import Image

    names: dict[str, Any] = {"np": np, "Image": Image, "Path": Path, "IMAGE_SIZE": SIDE}
    exec(notebook_function, names)

    def smoothed(file: Path) -> np.ndarray:
        return np.asarray(Image.open(file).resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32)[None] / 255

    batches = _module(script).photos(folder, SIDE, 4, shuffle=False)
    read = np.concatenate([pixels.numpy() for pixels, _ in batches])
    files = sorted(Path(folder).glob("*/*.jpg"))
    assert len(files) == len(read) > 1
    made = [(names["pixels"](file)[0], smoothed(file)[0]) for file in files]
    return [
        tuple(float(255 * np.abs(other - one).mean()) for other in pair) for one, pair in zip(read, made, strict=True)
    ]


def exported(script: str, folder: str) -> tuple[list[float], list[float], list[float]]:
    """What a network of the script answers for three photos at a time, and exported, twice, one by one."""
    import tensorflow as tf

    model = _module(script).network(SIDE)
    pixels = np.random.default_rng(0).random((3, SIDE, SIDE, 3), np.float32)
    model.compile("adam", "binary_crossentropy")
    model.fit(pixels, np.array([[0.0], [1.0], [1.0]]), epochs=1, verbose=0)
    model.export(folder)
    loaded = tf.saved_model.load(folder)
    once, again = ([float(loaded.serve(one[None])[0, 0]) for one in pixels] for _ in range(2))
    return model.predict(pixels, verbose=0)[:, 0].tolist(), once, again


def _module(script: str) -> Any:
    os.environ.update(SM_CHANNEL_TRAINING="", SM_MODEL_DIR="")
    spec = importlib.util.spec_from_file_location("cat_or_dog", script)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where TensorFlow looks for the source of a function
    spec.loader.exec_module(module)
    return module
