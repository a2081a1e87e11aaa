"""Image classification with TensorFlow: channels of class folders, the demo's recipe; else as image_classification.

Channels: train/CLASS/NAME.jpg and validation/CLASS/NAME.jpg, a folder for every class.
"""

from collections.abc import Iterable
from pathlib import Path

from local.algorithms import recipes
from local.algorithms.image_classification import (
    ACCEPT,
    CURL,
    SPLITS,
    UNUSED,
    USABLE,
    Answer,
    answer,
    candidates,
    class_names,
    labels,
    last_line,
    record_label,
    sheet,
    table,
    told,
    truth,
)
from local.datasets.channels import Photo, Summary

__all__ = [  # a room's names: those above, which are image_classification's, and those below
    "ACCEPT",
    "CLASSES",
    "CURL",
    "DEMO",
    "DRAWN",
    "EPOCHS",
    "FORMATS",
    "NETWORK",
    "SPLITS",
    "UNUSED",
    "USABLE",
    "Answer",
    "answer",
    "candidates",
    "class_names",
    "forecast",
    "labels",
    "last_line",
    "photos",
    "recipe",
    "record_label",
    "sheet",
    "table",
    "told",
    "truth",
    "write_images",
]

CLASSES: tuple[str, ...] = ("species", "breed")
DEMO = "species"
FORMATS: tuple[str, ...] = ("image",)
DRAWN = (60, 15)
EPOCHS = (45, 40)
NETWORK = "a MobileNetV2"

# From scratch, as nothing can be downloaded. One late fall of the rate: 0.99, where two after 30 epochs gave 0.93.
_FALLS = (0.75,)
_DRAWN: recipes.Hyperparameters = {
    "image_shape": "3,96,96",
    "alpha": 0.5,
    "epochs": EPOCHS[0],
    "mini_batch_size": 32,
    "learning_rate": 0.002,
    "dropout": 0.2,
}
_REAL: recipes.Hyperparameters = {
    "image_shape": "3,128,128",
    "alpha": 1.0,
    "epochs": EPOCHS[1],
    "mini_batch_size": 32,
    "learning_rate": 0.001,
    "dropout": 0.2,
}
# Measured: seconds of one core per image of a training step at alpha 1, whatever its size and per 128 x 128 pixels, and
# seconds of a job without its epochs (TensorFlow's start, tracing, export, checks).
_IMAGE_SECONDS, _AREA_SECONDS, _JOB_SECONDS = 0.015, 0.030, 40


def write_images(building: Path, channel: str, photos: Iterable[Photo[int]], summary: Summary) -> None:
    """Write the class folders of one channel."""
    for name in summary.class_names:
        (building / channel / name).mkdir()
    for photo in photos:
        (building / channel / summary.class_names[photo.truth] / f"{photo.pet.name}.jpg").write_bytes(photo.data)


def photos(channels: Path, channel: str) -> list[tuple[Path, int]]:
    """The photos of a channel with their labels, which count the class folders by name."""
    folders = sorted(path for path in (channels / channel).iterdir() if path.is_dir())
    return [(path, label) for label, folder in enumerate(folders) for path in sorted(folder.glob("*.jpg"))]


def recipe(drawn: bool, epochs: int | None, num_classes: int, num_training_samples: int) -> recipes.Hyperparameters:
    """Hyperparameters of image classification with TensorFlow; `epochs` None means as many as were tried."""
    return recipes.complete(_DRAWN if drawn else _REAL, epochs, num_classes, num_training_samples, _FALLS)


def forecast(recipe: recipes.Hyperparameters, cores: int) -> float:
    """Seconds that a job of the recipe takes on `cores` when nothing else runs, roughly."""
    _, height, width = map(int, str(recipe["image_shape"]).split(","))
    images = int(recipe["epochs"]) * int(recipe["num_training_samples"])
    share = float(recipe["alpha"]) * height * width / 128**2
    return _JOB_SECONDS + images * (_IMAGE_SECONDS + _AREA_SECONDS * share) / cores
