"""Image classification with TensorFlow: channels of class folders, the demo's recipe; else as image_classification.

Channels: train/CLASS/NAME.jpg and validation/CLASS/NAME.jpg, a folder for every class.
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
    # From scratch, as nothing can be downloaded. One late fall of the rate: 0.99, where two after 30 epochs gave 0.93.
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
    falls = (0.75,)
    job_seconds = 40

    def ordered(self, class_names: Sequence[str]) -> Sequence[str]:
        """The class names in the order of their folders, as training counts them."""
        return [name for _, name in sorted(zip(folder_names(class_names), class_names, strict=True))]

    def write_images(self, building: Path, channel: str, photos: Iterable[Photo[Truth]], summary: Summary) -> None:
        """Write the class folders of one channel. Raises UserError for multi-label photos."""
        if summary.multi_label:
            raise UserError(
                "the photos have several labels, and image-classification-tensorflow trains on class folders, of which "
                "a photo is in one: take image-classification"
            )
        renamed = [
            f"{name} is {folder}"
            for name, folder in zip(summary.class_names, folder_names(summary.class_names), strict=True)
            if name != folder
        ]
        if renamed:
            summary.files["classes called by their folders, which cannot have such names"] = renamed
        deque(write_photos(building / channel, photos, summary), maxlen=0)

    def photos(self, channels: Path, channel: str) -> list[tuple[Path, Truth]]:
        """The photos of a channel with their labels, which count the class folders by name."""
        folders = sorted(path for path in (channels / channel).iterdir() if path.is_dir())
        return [(path, label) for label, folder in enumerate(folders) for path in sorted(folder.glob("*.jpg"))]

    def image_seconds(self, recipe: Hyperparameters) -> float:
        """Measured at alpha 1: a part whatever an image's size, and one per 128 x 128 pixels."""
        return 0.015 + 0.030 * float(recipe["alpha"]) * area(recipe)


ALGORITHM = ImageClassificationTensorFlow()
