"""The hyperparameters of image-classification-tensorflow: image-classification's names, and those of Keras scripts."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Final, Literal

from train import common_hyperparameters as common
from train.classification import hyperparameters as classifiers
from train.errors import UserError
from train.hyperparameters import (
    Hyperparameter,
    NoDefault,
    choice,
    defaults,
    flag,
    given,
    ignored,
    integer,
    real,
    resolve,
    shape,
)
from train.image_classification_tensorflow import builtin
from train.log import LOG

ALPHA = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)
"""Widths for which weights are published: Sandler et al. 2018 and Keras's table."""
BLOCKS = 19
"""Of MobileNetV2: the first convolution, seventeen inverted residuals, the last convolution."""
SMALLEST = 32
"""Pixels of a side; MobileNetV2 halves its input five times."""
HEAD: Final = "head"
ALL: Final = "all"
TrainLayers = Literal["head", "all"] | int


def _train_layers() -> Any:
    def parse(text: str) -> str | int:
        if text.lower() in (HEAD, ALL):
            return text.lower()
        value = float(text)
        if value != int(value) or not 1 <= value <= BLOCKS:
            raise ValueError
        return int(value)

    valid = f"head, all, or how many of the {BLOCKS} blocks below the head, from the top"
    return Hyperparameter(parse, valid, NoDefault("all; head with `use_pretrained_model=1`")).as_field()


def _alpha() -> Any:
    def parse(text: str) -> float:
        if float(text) not in ALPHA:
            raise ValueError
        return float(text)

    return Hyperparameter(parse, "one of " + ", ".join(map(str, ALPHA)), 1.0).as_field()


def _degrees(default: float) -> Any:
    def parse(text: str) -> float:
        value = float(text)
        if not 0 <= value <= 180:
            raise ValueError
        return value

    return Hyperparameter(parse, "degrees from 0 to 180", default).as_field()


_FILLED = ": an epoch has as many batches as the data fills"


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """Checked values; the fields are also what is accepted, in the order in which the log and the page have them."""

    num_classes: int | None = integer(None, 2)
    """Number of classes; None until the class folders are counted, with which it is compared. Required with .lst files
    and RecordIO."""
    num_training_samples: int | None = integer(None, 1)
    """Number of training images. If the data has another number, the log has a warning and the learning rate's schedule
    follows the data."""
    resize: int = integer(NoDefault("smaller side of `image_shape`"), 1)
    """Shorter side of every photo before its centre is cropped, in training, validation and serving; at least the
    smaller side of `image_shape`. A photo that would not cover the crop is enlarged until it does."""
    image_shape: tuple[int, int, int] = shape((3, 128, 128))
    """Input of the network; sides of at least 32."""
    alpha: float = _alpha()
    """Width of MobileNetV2."""
    dropout: float = real(0.5, without=(1,))
    """Dropout before the last layer."""
    train_layers: TrainLayers = _train_layers()
    """What is trained: the last layer, that and the top blocks below it, or everything."""
    use_pretrained_model: bool = flag(False)
    """Start from ImageNet weights or from those of an earlier job; see below."""
    epochs: int = common.epochs(30)
    mini_batch_size: int = common.mini_batch_size(32)
    optimizer: str = choice("adam", ("sgd", "adam", "rmsprop", "nag", "nesterov"))
    """nag is sgd with Nesterov momentum, and nesterov another name of it."""
    learning_rate: float = real(0.001)
    """Learning rate at the start."""
    lr_scheduler_factor: float = common.lr_scheduler_factor()
    lr_scheduler_step: tuple[int, ...] = common.lr_scheduler_step()
    momentum: float = classifiers.momentum()
    weight_decay: float = classifiers.weight_decay()
    beta_1: float = classifiers.beta_1()
    beta_2: float = classifiers.beta_2()
    eps: float = real(1e-7, without=(0,))  # dead channels have no gradient, and 0 / 0 is no number
    """Added to the divisor of adam and rmsprop."""
    gamma: float = classifiers.gamma()
    horizontal_flip: bool = flag(True)
    """Mirror half of the training photos."""
    zoom_range: float = real(0.2, without=(1,))
    """Zoom each side by 1 - z to 1 + z, as Keras's `ImageDataGenerator`."""
    rotation_range: float = _degrees(20.0)
    """Rotate by up to this many degrees either way."""
    use_weighted_loss: bool = flag(False)
    """Weigh a class inversely to its share of the photos."""
    top_k: int | None = classifiers.top_k()
    early_stopping: bool = common.early_stopping()
    early_stopping_min_epochs: int = common.early_stopping_min_epochs(10)
    early_stopping_patience: int = common.early_stopping_patience(5)
    early_stopping_tolerance: float = common.early_stopping_tolerance()
    validation_split: float = real(0.2, without=(0, 1))
    """Share of each class to measure on, where the channels have no validation part."""
    inference_resize: classifiers.Resize = classifiers.inference_resize()
    """crop: scale the photo as `resize` says, then take the centre. stretch: scale it to `image_shape` and ignore the
    aspect ratio."""
    unreadable_tolerance: float = common.unreadable_tolerance()
    """Share of the images that may be unreadable before the job fails."""
    seed: int = common.seed()
    """Seed of the first weights, the split, the order of the images and augmentation."""

    # What Keras scripts take and this program finds out for itself, what the SDK adds, and what belongs to SageMaker's.
    OTHER_NAMES: ClassVar[dict[str, Any]] = {
        "batch_size": integer(None, 1, doc="Another name of `mini_batch_size`."),
        "steps": ignored(_FILLED, doc=f"Ignored with a warning{_FILLED}."),
        "val_steps": ignored(_FILLED, doc=f"Ignored with a warning{_FILLED}."),
        "model_dir": ignored(doc="Ignored; SDK v2 adds it."),
        **builtin.NAMES,
    }

    def __post_init__(self) -> None:
        """Raise UserError for values that do not go together."""
        if min(self.image_shape[1:]) < SMALLEST:
            raise UserError(
                f"hyperparameter image_shape={self.image_shape} is too small: MobileNetV2 takes sides of at least "
                f"{SMALLEST} pixels"
            )
        classifiers.check(self.image_shape, self.resize, self.top_k, self.num_classes)


def check(raw: Mapping[str, str]) -> Hyperparameters:
    """Return the checked hyperparameters; raises UserError.

    None stays None where the data says it: num_classes, num_training_samples.
    """
    ours = resolve(raw, Hyperparameters)
    builtin.translate(ours, given(raw))
    _take_batch_size(ours)
    values = defaults(Hyperparameters) | ours
    values["resize"] = values["resize"] or min(values["image_shape"][1:])
    if values["train_layers"] is None:
        values["train_layers"] = HEAD if values["use_pretrained_model"] else ALL
    elif values["train_layers"] == BLOCKS:
        values["train_layers"] = ALL
    return Hyperparameters(**values)


def _take_batch_size(values: dict[str, Any]) -> None:
    """Put a Keras script's `batch_size` in the place of `mini_batch_size`. Raises UserError if they differ."""
    keras = values.pop("batch_size", None)
    if keras is None:
        return
    ours = values.setdefault("mini_batch_size", keras)
    if ours != keras:
        raise UserError(
            f"hyperparameters mini_batch_size={ours} and batch_size={keras} are two names of one thing: set one of them"
        )


def say(hp: Hyperparameters) -> None:
    """Print the parameters, and a line for what will not learn as its name says."""
    classifiers.say(asdict(hp))
    common.warn_of_late_steps(hp.lr_scheduler_step, hp.epochs)
    if hp.train_layers != ALL and not hp.use_pretrained_model:
        LOG.warning(
            "train_layers=%s without use_pretrained_model=1: the layers below keep random weights, which tell photos "
            "apart badly; set train_layers=all",
            hp.train_layers,
        )
