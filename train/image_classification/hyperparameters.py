"""The hyperparameters of image-classification: the built-in's, then our own additions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from train import fields
from train.classification.hyperparameters import ClassifierHyperparameters, Resize
from train.errors import UserError
from train.hyperparameter_types import log_kv_store, resolve
from train.log import LOG

NUM_LAYERS = (18, 34, 50, 101, 152, 200, 20, 32, 44, 56, 110)
Augmentation = Literal["crop", "crop_color", "crop_color_transform"]


@dataclass(frozen=True, kw_only=True)
class Hyperparameters(ClassifierHyperparameters):
    """Checked hyperparameters. The fields define the accepted names, in the order of the log and the documentation."""

    num_classes: int = fields.integer(fields.REQUIRED, 1)
    """Number of classes; labels are 0 to `num_classes` - 1."""
    num_training_samples: int = fields.integer(fields.REQUIRED, 1)
    resize: int | None = fields.integer(None, 1)
    """Shorter side of every photo before it is cropped, in training, validation and serving; at least the smaller side
    of `image_shape`. Photos that would not cover the crop are enlarged. Required for images with .lst files, not for
    RecordIO. Without `resize`, training crops the original photos, and validation and serving resize to the median of
    their shorter sides."""
    num_layers: int = fields.choice(152, NUM_LAYERS)
    """The first six are ResNets for photos (GluonCV's v1b), the others for images of about 28 x 28 pixels (CIFAR)."""
    image_shape: tuple[int, int, int] = fields.shape((3, 224, 224))
    use_pretrained_model: bool = fields.flag(False)
    """Start from ImageNet weights: [pretrained.md](pretrained.md)."""
    epochs: int = fields.integer(30, 1)
    mini_batch_size: int = fields.integer(32, 1)
    optimizer: str = fields.choice("sgd", ("sgd", "adam", "rmsprop", "nag"))
    learning_rate: float = fields.real(0.1)
    lr_scheduler_factor: float = fields.real(0.1)
    lr_scheduler_step: tuple[int, ...] = fields.steps()
    momentum: float = fields.real(0.9)
    weight_decay: float = fields.real(0.0001)
    beta_1: float = fields.real(0.9, without=(1,))  # Adam divides by 1 - beta
    beta_2: float = fields.real(0.999, without=(1,))
    eps: float = fields.real(1e-8)
    gamma: float = fields.real(0.9)
    augmentation_type: Augmentation | None = fields.choice(None, get_args(Augmentation))
    """Augmentation of the training photos; see below. none: centre crop."""
    multi_label: bool = fields.flag(False)
    """Each sample has `num_classes` labels of 0 or 1, and the network predicts a sigmoid for each."""
    use_weighted_loss: bool = fields.flag(False)
    """With `multi_label`: weight the positive term of each label by (samples without it) / (samples with it). Without
    `multi_label` it is ignored with a warning."""
    precision_dtype: str = fields.choice("float32", ("float32", "float16"))
    """float16: mixed precision on GPUs with MXNet's AMP and loss scaling. On CPUs, float32 is used, with a
    warning."""
    top_k: int | None = fields.integer(None, 2)
    checkpoint_frequency: int | None = fields.integer(None, 1)
    """Also keep the weights of every n-th epoch, not only the best. A value above `epochs` causes a warning."""
    early_stopping: bool = fields.flag(False)
    early_stopping_min_epochs: int = fields.integer(10, 0)
    early_stopping_patience: int = fields.integer(5, 0)
    early_stopping_tolerance: float = fields.real(0.0)
    kv_store: str | None = fields.kv_store()
    """Several hosts always train as with dist_sync; a single host ignores it. The log says so."""
    # Ours: the built-in does not have these hyperparameters.
    inference_resize: Resize = fields.choice("crop", get_args(Resize))
    unreadable_tolerance: float = fields.real(0.05)
    seed: int = fields.integer(0, 0, 2**31 - 1)
    quantize: str | None = fields.choice(None, ("int8",))
    quantize_tolerance: float = fields.real(0.01)

    def __post_init__(self) -> None:
        """Raise UserError for values that contradict each other."""
        super().__post_init__()
        if self.top_k and self.multi_label:
            raise UserError(
                "hyperparameter top_k has no meaning with multi_label=1, because samples then have "
                "several labels: remove one of the two"
            )

    def log(self, hosts: int = 1) -> None:
        """Log the hyperparameters, and warn about those that have less effect than their name suggests."""
        super().log(hosts)
        if self.use_weighted_loss and not self.multi_label:
            LOG.warning("use_weighted_loss=1 is ignored: it needs multi_label=1, which is not set")
        if self.checkpoint_frequency and self.checkpoint_frequency > self.epochs:
            LOG.warning(
                "checkpoint_frequency=%d is above epochs=%d: only the best epoch is kept",
                self.checkpoint_frequency,
                self.epochs,
            )
        log_kv_store(self.kv_store, hosts)


@dataclass(frozen=True, kw_only=True)
class OtherNames:
    """Hyperparameters that are accepted and ignored."""

    use_lr_scheduler: str = fields.ignored(
        ", as in the built-in: only lr_scheduler_step determines when the rate falls"
    )
    """Ignored with a warning, as in the built-in."""


ACCEPTED = (Hyperparameters, OtherNames)


def check(raw: Mapping[str, str]) -> Hyperparameters:
    """Return the checked hyperparameters. Raises UserError if they are invalid or contradict each other."""
    return Hyperparameters(**resolve(raw, ACCEPTED))
