"""The hyperparameters of image-classification: the built-in's, then our own additions."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, get_args

from train import common_hyperparameters as common
from train.classification import hyperparameters as classifiers
from train.errors import UserError
from train.hyperparameters import REQUIRED, choice, flag, ignored, integer, real, resolve, shape
from train.log import LOG

NUM_LAYERS = (18, 34, 50, 101, 152, 200, 20, 32, 44, 56, 110)
Augmentation = Literal["crop", "crop_color", "crop_color_transform"]


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """Checked values; the fields are also what is accepted, in the order in which the log and the page have them."""

    num_classes: int = integer(REQUIRED, 1)
    """Number of classes; labels are 0 to `num_classes` - 1."""
    num_training_samples: int = common.num_training_samples()
    resize: int | None = integer(None, 1)
    """Shorter side of every photo before it is cropped, in training, validation and serving; at least the smaller side
    of `image_shape`. Required for images with .lst files, not for RecordIO. A photo that would not cover a crop that is
    not square is enlarged until it does, so a photo of exactly `image_shape` loses nothing. Without `resize`, training
    crops the photos as they are, and validation and serving use their median shorter side."""
    num_layers: int = choice(152, NUM_LAYERS)
    """The first six are ResNets for photos (GluonCV's v1b), the others for images of about 28 x 28 pixels (CIFAR)."""
    image_shape: tuple[int, int, int] = shape((3, 224, 224))
    """Input of the network."""
    use_pretrained_model: bool = flag(False)
    """Start from ImageNet weights: [pretrained.md](pretrained.md)."""
    epochs: int = common.epochs(30)
    mini_batch_size: int = common.mini_batch_size(32)
    optimizer: str = choice("sgd", ("sgd", "adam", "rmsprop", "nag"))
    """nag is sgd with Nesterov momentum."""
    learning_rate: float = real(0.1)
    """Learning rate at the start."""
    lr_scheduler_factor: float = common.lr_scheduler_factor()
    lr_scheduler_step: tuple[int, ...] = common.lr_scheduler_step()
    momentum: float = classifiers.momentum()
    weight_decay: float = classifiers.weight_decay()
    beta_1: float = classifiers.beta_1()
    beta_2: float = classifiers.beta_2()
    eps: float = real(1e-8)
    """Added to the divisor of adam and rmsprop."""
    gamma: float = classifiers.gamma()
    augmentation_type: Augmentation | None = choice(None, get_args(Augmentation))
    """Augmentation of the training photos; see below. none: the centre crop."""
    multi_label: bool = flag(False)
    """A sample has `num_classes` labels of 0 or 1, and the answers are sigmoids."""
    use_weighted_loss: bool = flag(False)
    """With `multi_label`: weigh a rare label by (samples without it) / (samples with it). Ignored with a warning
    without `multi_label`."""
    precision_dtype: str = common.precision_dtype()
    top_k: int | None = classifiers.top_k()
    checkpoint_frequency: int | None = integer(None, 1)
    """Keep the weights of every n-th epoch, besides the best. Above `epochs`, the log has a warning."""
    early_stopping: bool = common.early_stopping()
    early_stopping_min_epochs: int = common.early_stopping_min_epochs(10)
    early_stopping_patience: int = common.early_stopping_patience(5)
    early_stopping_tolerance: float = common.early_stopping_tolerance()
    kv_store: str | None = common.kv_store()
    # Ours: the built-in has no such hyperparameters.
    inference_resize: classifiers.Resize = classifiers.inference_resize()
    unreadable_tolerance: float = common.unreadable_tolerance()
    seed: int = common.seed()

    OTHER_NAMES: ClassVar[dict[str, Any]] = {
        "use_lr_scheduler": ignored(
            ", as the built-in ignores it: lr_scheduler_step alone says when the rate falls",
            doc="Ignored with a warning, as the built-in ignores it.",
        )
    }

    def __post_init__(self) -> None:
        """Raise UserError for values that do not go together."""
        classifiers.check(self.image_shape, self.resize, self.top_k, self.num_classes)
        if self.top_k and self.multi_label:
            raise UserError(
                "hyperparameter top_k has no meaning with multi_label=1, where a sample has several "
                "labels: remove one of the two"
            )


def check(raw: Mapping[str, str]) -> Hyperparameters:
    """Return the checked hyperparameters; raises UserError, also for values that do not go together."""
    return Hyperparameters(**resolve(raw, Hyperparameters))


def say(hp: Hyperparameters) -> None:
    """Print the parameters, and a line for each that does less here than its name says."""
    classifiers.say(asdict(hp))
    common.warn_of_late_steps(hp.lr_scheduler_step, hp.epochs)
    if hp.use_weighted_loss and not hp.multi_label:
        LOG.warning("use_weighted_loss=1 is ignored: it weighs the labels of multi_label=1, which is not set")
    if hp.checkpoint_frequency and hp.checkpoint_frequency > hp.epochs:
        LOG.warning(
            "checkpoint_frequency=%d is above epochs=%d: only the best epoch is kept",
            *(hp.checkpoint_frequency, hp.epochs),
        )
    common.warn_of_float16(hp.precision_dtype)
    common.say_kv_store(hp.kv_store)
