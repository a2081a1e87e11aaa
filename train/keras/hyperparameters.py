"""What the hyperparameters of all Keras classifiers have in common."""

from typing import Final, Literal

from train.classification.hyperparameters import ClassifierHyperparameters

HEAD: Final = "head"
ALL: Final = "all"
TrainLayers = Literal["head", "all"] | int


class KerasHyperparameters(ClassifierHyperparameters):
    """What the dataclass of every Keras classifier has, each as a field of its own."""

    resize: int
    """Shorter side of every photo before its centre is cropped, in training, validation and serving; at least the
    smaller side of `image_shape`. A photo that would not cover the crop is enlarged until it does."""
    dropout: float
    """Dropout before the last layer."""
    train_layers: TrainLayers
    """What is trained: the last layer, that and the top blocks below it, or everything."""
    horizontal_flip: bool
    """Mirror half of the training photos."""
    zoom_range: float
    """Zoom each side by 1 - z to 1 + z, as Keras's `ImageDataGenerator`."""
    rotation_range: float
    """Rotate by up to this many degrees either way."""
    use_weighted_loss: bool
    """Weigh a class inversely to its share of the photos."""
    validation_split: float
    """Share of each class to measure on, where the channels have no validation part."""
