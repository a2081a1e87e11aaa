"""The hyperparameters of semantic-segmentation: the built-in's, then our own additions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from serve.artifact import SEGMENTATION_CLASSES, SIDE_STEP
from train import fields
from train.errors import UserError
from train.hyperparameter_types import CommonHyperparameters, resolve, warn_of_late_steps
from train.log import LOG

Schedule = Literal["poly", "cosine", "step"]
SIDES = (17, 2048)


@dataclass(frozen=True, kw_only=True)
class Hyperparameters(CommonHyperparameters):
    """Checked hyperparameters. The fields define the accepted names, in the order of the log and the documentation."""

    num_classes: int = fields.integer(fields.REQUIRED, *SEGMENTATION_CLASSES)
    """Number of classes. Classes are 0 to `num_classes` - 1; 255 in a mask is ignored."""
    num_training_samples: int = fields.integer(fields.REQUIRED, 1)
    """Number of training images. If the data has a different number, a warning is logged and the
    learning-rate schedule follows the data."""
    backbone: str = fields.choice("resnet-50", ("resnet-50", "resnet-101", "resnet-18"))
    """Network that extracts the features. **Ours:** resnet-18, for CPUs and small jobs."""
    algorithm: str = fields.choice("fcn", ("fcn", "psp", "deeplab"))
    """Decoder; deeplab is DeepLabV3."""
    use_pretrained_model: bool = fields.flag(True)
    """Start the backbone from ImageNet weights: [pretrained.md](pretrained.md). Decoders always start with
    random weights."""
    base_size: int = fields.integer(520, *SIDES)
    """Training: the longer side of a photo is scaled to this, times a random number from 0.5 to 2. Serving: see
    `inference_size`."""
    crop_size: int = fields.integer(240, *SIDES)
    """Side of the random square crops for training, rounded up to a multiple of 8."""
    epochs: int = fields.integer(10, 1)
    mini_batch_size: int = fields.integer(16, 1)
    validation_mini_batch_size: int = fields.integer(16, 1)
    """1: score whole photos, as in serving. Above 1: score centre crops of `crop_size`, in batches of this size, which
    is faster."""
    optimizer: str = fields.choice("sgd", ("sgd", "adam", "adagrad", "nag", "rmsprop", "adadelta"))
    learning_rate: float = fields.real(0.001, without=(0,))
    """Initial learning rate of the backbone. If the backbone is pretrained, the heads have ten times this rate, as in
    GluonCV."""
    lr_scheduler: Schedule = fields.choice("poly", get_args(Schedule))
    """poly: the learning rate times (1 - updates / all updates) to the power of 0.9."""
    lr_scheduler_factor: float = fields.real(0.1)
    lr_scheduler_step: tuple[int, ...] = fields.steps()
    """Required with `lr_scheduler=step`: after each of these epochs the learning rate is multiplied by
    `lr_scheduler_factor`."""
    # The built-in rejects a momentum of 0 and a weight_decay of 0 and 1, but notebooks send 0 for "none".
    momentum: float = fields.real(0.9)
    weight_decay: float = fields.real(0.0001)
    gamma1: float = fields.real(0.9)
    """Decay of rmsprop's mean of squared gradients."""
    gamma2: float = fields.real(0.9)
    """Momentum of rmsprop."""
    syncbn: bool = fields.flag(False)
    """No effect: each GPU normalises its part of a batch separately. The log says so."""
    early_stopping: bool = fields.flag(False)
    early_stopping_min_epochs: int = fields.integer(5, 0)
    early_stopping_patience: int = fields.integer(4, 0)
    early_stopping_tolerance: float = fields.real(0.0)
    precision_dtype: str = fields.choice("float32", ("float32", "float16"))
    """float16: mixed precision on GPUs with MXNet's AMP and loss scaling. On CPUs, float32 is used, with a
    warning."""
    # Ours: the built-in does not have these hyperparameters.
    inference_size: int = fields.integer(fields.NoDefault("`base_size`"), *SIDES)
    """**Ours.** Longer side of the network's input for whole photos, in validation and serving. Rounded up to a
    multiple of 8; see below."""
    unreadable_tolerance: float = fields.real(0.05)
    seed: int = fields.integer(0, 0, 2**31 - 1)
    quantize: str | None = fields.choice(None, ("int8",))
    quantize_tolerance: float = fields.real(0.01)

    def __post_init__(self) -> None:
        """Raise UserError for values that contradict each other."""
        if self.lr_scheduler == "step" and not self.lr_scheduler_step:
            raise UserError(
                "hyperparameter lr_scheduler_step is required with lr_scheduler=step: set it to the epochs after which "
                "the learning rate falls, such as 10,20"
            )

    def log(self, hosts: int = 1) -> None:
        """Log the hyperparameters, and warn about those that have less effect than their name suggests."""
        LOG.info("Final configuration: %s", self.values())
        if self.syncbn:
            LOG.info("syncbn=True has no effect: each device normalises its part of a batch separately")
        if self.lr_scheduler == "step":
            warn_of_late_steps(self)
        elif self.lr_scheduler_step:
            LOG.warning(
                "lr_scheduler_step=%s is ignored: lr_scheduler is %s, not step",
                ",".join(map(str, self.lr_scheduler_step)),
                self.lr_scheduler,
            )


ACCEPTED = (Hyperparameters,)


def check(raw: Mapping[str, str]) -> Hyperparameters:
    """Return the checked hyperparameters. `crop_size` (as in the built-in) and `inference_size` are multiples of 8.

    Raises UserError if they are invalid or contradict each other.
    """
    values = fields.defaults(Hyperparameters) | resolve(raw, ACCEPTED)
    inference_size = values["inference_size"] or values["base_size"]
    rounded = {"crop_size": _rounded(values["crop_size"]), "inference_size": _rounded(inference_size)}
    return Hyperparameters(**values | rounded)


def _rounded(size: int) -> int:
    """Return `size` rounded up to a multiple of SIDE_STEP pixels."""
    return -(-size // SIDE_STEP) * SIDE_STEP
