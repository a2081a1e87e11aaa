"""The hyperparameters of image-classification-tensorflow, with the names of image-classification and Keras scripts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from train import fields
from train.classification.hyperparameters import Resize
from train.errors import UserError
from train.hyperparameter_types import resolve, user_settings
from train.image_classification_tensorflow import builtin
from train.keras import hyperparameters as keras_fields
from train.keras.hyperparameters import KerasHyperparameters, TrainLayers

ALPHA = (0.35, 0.5, 0.75, 1.0, 1.3, 1.4)
"""Width multipliers with published weights: Sandler et al. 2018 and Keras's table."""
BLOCKS = 19
"""Blocks of MobileNetV2: the first convolution, seventeen inverted residuals and the last convolution."""


def _alpha() -> Any:
    def parse(text: str) -> float:
        if float(text) not in ALPHA:
            raise ValueError
        return float(text)

    return fields.Hyperparameter(parse, "one of " + ", ".join(map(str, ALPHA)), 1.0).as_field()


_FIXED_STEPS = ": an epoch always uses all data"


@dataclass(frozen=True, kw_only=True)
class Hyperparameters(KerasHyperparameters):
    """Checked hyperparameters. The fields define the accepted names, in the order of the log and the documentation."""

    architecture = "MobileNetV2"

    num_classes: int | None = fields.integer(None, 2)
    """Number of classes. Must equal the number of class folders, if set. Required with .lst files and RecordIO."""
    num_training_samples: int | None = fields.integer(None, 1)
    """Number of training images. If the data has a different number, a warning is logged and the
    learning-rate schedule follows the data."""
    resize: int = fields.integer(fields.NoDefault("smaller side of `image_shape`"), 1)
    image_shape: tuple[int, int, int] = fields.shape((3, 128, 128))
    """Input of the network. The sides must be at least 32."""
    alpha: float = _alpha()
    """Width multiplier of MobileNetV2."""
    dropout: float = fields.real(0.5, without=(1,))
    train_layers: TrainLayers = keras_fields.train_layers(BLOCKS)
    use_pretrained_model: bool = fields.flag(False)
    """Start from ImageNet weights or those of an earlier job; see below."""
    epochs: int = fields.integer(30, 1)
    mini_batch_size: int = fields.integer(32, 1)
    optimizer: str = fields.choice("adam", ("sgd", "adam", "rmsprop", "nag", "nesterov"))
    """nag is sgd with Nesterov momentum; nesterov is the same as nag."""
    learning_rate: float = fields.real(0.001)
    lr_scheduler_factor: float = fields.real(0.1)
    lr_scheduler_step: tuple[int, ...] = fields.steps()
    momentum: float = fields.real(0.9)
    weight_decay: float = fields.real(0.0001)
    beta_1: float = fields.real(0.9, without=(1,))  # Adam divides by 1 - beta
    beta_2: float = fields.real(0.999, without=(1,))
    eps: float = fields.real(1e-7, without=(0,))  # dead channels have no gradient, and 0 / 0 is NaN
    gamma: float = fields.real(0.9)
    horizontal_flip: bool = fields.flag(True)
    zoom_range: float = fields.real(0.2, without=(1,))
    rotation_range: float = keras_fields.degrees(20.0)
    use_weighted_loss: bool = fields.flag(False)
    top_k: int | None = fields.integer(None, 2)
    early_stopping: bool = fields.flag(False)
    early_stopping_min_epochs: int = fields.integer(10, 0)
    early_stopping_patience: int = fields.integer(5, 0)
    early_stopping_tolerance: float = fields.real(0.0)
    validation_split: float = fields.real(0.2, without=(0, 1))
    inference_resize: Resize = fields.choice("crop", get_args(Resize))
    """crop: scale the photo to `resize`, then take the centre. stretch: scale it to `image_shape`, ignoring the aspect
    ratio."""
    unreadable_tolerance: float = fields.real(0.05)
    """Fraction of the images that may be unreadable before the job fails."""
    seed: int = fields.integer(0, 0, 2**31 - 1)
    """Seed of the initial weights, the split, the order of the images and the augmentation."""
    quantize: str | None = fields.choice(None, ("int8",))
    quantize_tolerance: float = fields.real(0.01)


@dataclass(frozen=True, kw_only=True)
class OtherNames:
    """Other hyperparameters of Keras scripts and of the SDK."""

    batch_size: int = fields.integer(None, 1)
    """Same as `mini_batch_size`."""
    steps: str = fields.ignored(_FIXED_STEPS)
    """Ignored with a warning: an epoch always uses all data."""
    val_steps: str = fields.ignored(_FIXED_STEPS)
    """Ignored with a warning, like `steps`."""
    model_dir: str = fields.ignored()
    """Ignored; SDK v2 adds it."""


ACCEPTED = (Hyperparameters, OtherNames, builtin.BuiltinNames)


def check(raw: Mapping[str, str]) -> Hyperparameters:
    """Return the checked hyperparameters. Raises UserError if they are invalid or contradict each other."""
    ours = resolve(raw, ACCEPTED)
    builtin.translate(ours, user_settings(raw))
    _take_batch_size(ours)
    return Hyperparameters.of(ours)


def _take_batch_size(values: dict[str, Any]) -> None:
    """Replace `batch_size` with `mini_batch_size`. Raises UserError if both are set to different values."""
    ours, keras = values.get("mini_batch_size"), values.pop("batch_size", None)
    if ours and keras and ours != keras:
        raise UserError(
            f"hyperparameters mini_batch_size={ours} and batch_size={keras} are the same setting: set only one of them"
        )
    if keras:
        values["mini_batch_size"] = keras
