"""The hyperparameters that all Keras classifiers share."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal, Self

from train import fields
from train.classification.hyperparameters import ClassifierHyperparameters
from train.errors import UserError
from train.log import LOG

HEAD: Final = "head"
ALL: Final = "all"
TrainLayers = Literal["head", "all"] | int


def train_layers(blocks: int) -> Any:
    """Return a field for HEAD, ALL, or how many of a network's `blocks` below the head are trained, from the top."""

    def parse(text: str) -> str | int:
        if text.lower() in (HEAD, ALL):
            return text.lower()
        value = float(text)
        if value != int(value) or not 1 <= value <= blocks:
            raise ValueError
        return ALL if value == blocks else int(value)

    valid = f"head, all, or how many of the {blocks} blocks below the head, from the top"
    return fields.Hyperparameter(parse, valid, fields.NoDefault("all; head with `use_pretrained_model=1`")).as_field()


def degrees(default: float) -> Any:
    """Return a field for a rotation of 0 to 180 degrees."""

    def parse(text: str) -> float:
        value = float(text)
        if not 0 <= value <= 180:
            raise ValueError
        return value

    return fields.Hyperparameter(parse, "degrees from 0 to 180", default).as_field()


class KerasHyperparameters(ClassifierHyperparameters):
    """The hyperparameters that the dataclass of every Keras classifier must define as fields."""

    architecture: ClassVar[str]
    """The network's name in messages."""
    smallest: ClassVar[int] = 32
    """The minimum side of the input in pixels, because Keras's networks halve their input five times."""

    resize: int
    """Shorter side of every photo before the centre crop, in training, validation and serving; at least the smaller
    side of `image_shape`. Photos that would not cover the crop are enlarged."""
    dropout: float
    """Dropout before the last layer."""
    train_layers: TrainLayers
    """Layers to train: only the last one, the last one and the top blocks below it, or all."""
    horizontal_flip: bool
    """Mirror training photos with probability 0.5."""
    zoom_range: float
    """Zoom each side by 1 - z to 1 + z, as in Keras's `ImageDataGenerator`."""
    rotation_range: float
    """Rotate by up to this many degrees in either direction."""
    use_weighted_loss: bool
    """Weight the loss of each class by the inverse of its share of the photos."""
    validation_split: float
    """Share of each class to use for validation if the channels have no validation data."""

    def __post_init__(self) -> None:
        """Raise UserError for incompatible values."""
        if min(self.image_shape[1:]) < self.smallest:
            raise UserError(
                f"hyperparameter image_shape={self.image_shape} is too small: {self.architecture} takes sides of at "
                f"least {self.smallest} pixels"
            )
        super().__post_init__()

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Self:
        """Return hyperparameters with these settings and the defaults for the others. Raises UserError.

        num_classes and num_training_samples stay None if they are not set, because the data determines them.
        """
        values = {**fields.defaults(cls), **settings}
        values["resize"] = values["resize"] or min(values["image_shape"][1:])
        if values["train_layers"] is None:
            values["train_layers"] = HEAD if values["use_pretrained_model"] else ALL
        return cls(**values)

    def log(self, hosts: int = 1) -> None:
        """Log the hyperparameters, with a warning if the frozen layers are not pretrained."""
        super().log(hosts)
        if self.train_layers != ALL and not self.use_pretrained_model:
            LOG.warning(
                "train_layers=%s without use_pretrained_model=1: the frozen layers keep random weights and yield "
                "poor features; set train_layers=all",
                self.train_layers,
            )
