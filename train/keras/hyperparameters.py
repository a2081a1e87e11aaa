"""What the hyperparameters of all Keras classifiers have in common."""

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
    """HEAD, ALL, or how many of a network's `blocks` below the head are trained, from the top."""

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
    """Degrees of a rotation, 0 to 180."""

    def parse(text: str) -> float:
        value = float(text)
        if not 0 <= value <= 180:
            raise ValueError
        return value

    return fields.Hyperparameter(parse, "degrees from 0 to 180", default).as_field()


class KerasHyperparameters(ClassifierHyperparameters):
    """What the dataclass of every Keras classifier has, each as a field of its own."""

    architecture: ClassVar[str]
    """The network's name in messages."""
    smallest: ClassVar[int] = 32
    """Pixels of a side at least: Keras's networks halve their input five times."""

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
    """Shard of each class to measure on, where the channels have no validation part."""

    def __post_init__(self) -> None:
        """Raise UserError for values that do not go together."""
        if min(self.image_shape[1:]) < self.smallest:
            raise UserError(
                f"hyperparameter image_shape={self.image_shape} is too small: {self.architecture} takes sides of at "
                f"least {self.smallest} pixels"
            )
        super().__post_init__()

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """Return the hyperparameters of the values that were given, and defaults. Raises UserError.

        None stays None where the data says it: num_classes, num_training_samples.
        """
        values = {**fields.defaults(cls), **given}
        values["resize"] = values["resize"] or min(values["image_shape"][1:])
        if values["train_layers"] is None:
            values["train_layers"] = HEAD if values["use_pretrained_model"] else ALL
        return cls(**values)

    def log(self, hosts: int = 1) -> None:
        """Print the parameters, and a line for what will not learn as its name says."""
        super().log(hosts)
        if self.train_layers != ALL and not self.use_pretrained_model:
            LOG.warning(
                "train_layers=%s without use_pretrained_model=1: the layers below keep random weights, which tell "
                "photos apart badly; set train_layers=all",
                self.train_layers,
            )
