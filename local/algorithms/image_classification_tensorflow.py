"""Image classification with TensorFlow: like image_classification, with other channels and another recipe.

Channels: train/CLASS/NAME.jpg and validation/CLASS/NAME.jpg, one folder per class.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from local.algorithms.algorithm import Hyperparameters
from local.algorithms.image_classification import ImageClassification, Truth, area, write_photos
from local.datasets.channels import Photo, Summary
from local.datasets.names import folder_names
from local.errors import UserError


class ImageClassificationTensorFlow(ImageClassification):
    """A MobileNetV2 with Keras."""

    classes = ("species", "breed")
    demo_classes = "species"
    formats = ("image",)
    network = "a MobileNetV2"
    # From scratch, because the demo downloads nothing. One late drop of the learning rate gave an accuracy of 0.99;
    # two drops, with 30 epochs, gave 0.93.
    recipe_for_drawn: ClassVar[Hyperparameters] = {
        "image_shape": "3,96,96",
        "alpha": 0.5,
        "epochs": 45,
        "mini_batch_size": 32,
        "learning_rate": 0.002,
        "dropout": 0.2,
    }
    recipe_for_photos: ClassVar[Hyperparameters] = {
        **recipe_for_drawn,
        "image_shape": "3,128,128",
        "alpha": 1.0,
        "epochs": 40,
        "learning_rate": 0.001,
    }
    lr_drops = (0.75,)
    job_seconds = 40

    def ordered(self, class_names: Sequence[str]) -> Sequence[str]:
        """Return the class names in the order of their folders, which is the order of the labels in training."""
        return [name for _, name in sorted(zip(folder_names(class_names), class_names, strict=True))]

    def write_images(self, building: Path, channel: str, photos: Iterable[Photo[Truth]], summary: Summary) -> None:
        """Write a channel's class folders. Raises UserError for multi-label photos."""
        if summary.multi_label:
            raise UserError(
                "the photos have several labels, but image-classification-tensorflow trains on class folders, where a "
                "photo has one: use image-classification"
            )
        renamed = [
            f"{name} is {folder}"
            for name, folder in zip(summary.class_names, folder_names(summary.class_names), strict=True)
            if name != folder
        ]
        if renamed:
            summary.files["classes renamed, because their names cannot be folder names"] = renamed
        deque(write_photos(building / channel, photos, summary), maxlen=0)

    def photos(self, channels: Path, channel: str) -> list[tuple[Path, Truth]]:
        """Return the photos of a channel with their labels, the indices of the class folders sorted by name."""
        folders = sorted(path for path in (channels / channel).iterdir() if path.is_dir())
        return [(path, label) for label, folder in enumerate(folders) for path in sorted(folder.glob("*.jpg"))]

    def image_seconds(self, recipe: Hyperparameters) -> float:
        """Measured at alpha 1: a constant part, plus a part per 128 x 128 pixels."""
        return 0.015 + 0.030 * float(recipe["alpha"]) * area(recipe)


ALGORITHM = ImageClassificationTensorFlow()
