"""The hyperparameters of semantic-segmentation: the built-in's, then our own additions."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal, get_args

from serve.artifact import SEGMENTATION_CLASSES, SIDE_STEP
from train import common_hyperparameters as common
from train.errors import UserError
from train.hyperparameters import REQUIRED, NoDefault, choice, defaults, flag, integer, real, resolve
from train.log import LOG

Schedule = Literal["poly", "cosine", "step"]
SIDES = (17, 2048)


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """Checked values; the fields are also what is accepted, in the order in which the log and the page have them."""

    num_classes: int = integer(REQUIRED, *SEGMENTATION_CLASSES)
    """Number of classes; classes are 0 to `num_classes` - 1, and 255 in a mask is ignored."""
    num_training_samples: int = integer(REQUIRED, 1)
    """Number of training images. If the data has another number, the log has a warning and the learning rate's schedule
    follows the data."""
    backbone: str = choice("resnet-50", ("resnet-50", "resnet-101", "resnet-18"))
    """Network that finds the features. **Ours:** resnet-18, for CPUs and small jobs."""
    algorithm: str = choice("fcn", ("fcn", "psp", "deeplab"))
    """Decoder; deeplab is DeepLabV3."""
    use_pretrained_model: bool = flag(True)
    """Start the backbone from ImageNet weights: [pretrained.md](pretrained.md). Decoders always start untrained."""
    base_size: int = integer(520, *SIDES)
    """Training: the long side of a photo becomes this times a random number from 0.5 to 2. Serving: see
    `inference_size`."""
    crop_size: int = integer(240, *SIDES)
    """Side of the random square that training sees, rounded up to a multiple of 8."""
    epochs: int = common.epochs(10)
    mini_batch_size: int = common.mini_batch_size(16)
    validation_mini_batch_size: int = integer(16, 1)
    """1: score whole photos, as they will be served. More: score centre crops of `crop_size`, this many at once, which
    is faster."""
    optimizer: str = choice("sgd", ("sgd", "adam", "adagrad", "nag", "rmsprop", "adadelta"))
    """nag is sgd with Nesterov momentum."""
    learning_rate: float = real(0.001, without=(0,))
    """Learning rate of the backbone at the start; on a pretrained backbone the heads learn ten times as fast, as in
    GluonCV."""
    lr_scheduler: Schedule = choice("poly", get_args(Schedule))
    """poly: the rate times (1 - updates / all updates) to the power of 0.9."""
    lr_scheduler_factor: float = common.lr_scheduler_factor()
    lr_scheduler_step: tuple[int, ...] = common.lr_scheduler_step()
    """Required with `lr_scheduler=step`: after each of these epochs the learning rate is multiplied by
    `lr_scheduler_factor`."""
    # The built-in refuses a momentum of 0, and a weight_decay of 0 and 1; notebooks send 0 for "none".
    momentum: float = real(0.9)
    """Momentum of sgd and nag."""
    weight_decay: float = real(0.0001)
    """Weight decay of sgd and nag, of the kernels only."""
    gamma1: float = real(0.9)
    """Decay of rmsprop's mean of squared gradients."""
    gamma2: float = real(0.9)
    """Momentum of rmsprop."""
    syncbn: bool = flag(False)
    """No effect, because it is about several GPUs; the log says so."""
    early_stopping: bool = common.early_stopping()
    early_stopping_min_epochs: int = common.early_stopping_min_epochs(5)
    early_stopping_patience: int = common.early_stopping_patience(4)
    early_stopping_tolerance: float = common.early_stopping_tolerance()
    precision_dtype: str = common.precision_dtype()
    # Ours: the built-in has no such hyperparameters.
    inference_size: int = integer(NoDefault("`base_size`"), *SIDES)
    """**Ours.** Long side at which whole photos are scored and the endpoint answers, rounded up to a multiple of 8; see
    below."""
    unreadable_tolerance: float = common.unreadable_tolerance()
    seed: int = common.seed()

    def __post_init__(self) -> None:
        """Raise UserError for values that do not go together."""
        if self.lr_scheduler == "step" and not self.lr_scheduler_step:
            raise UserError(
                "hyperparameter lr_scheduler_step is required with lr_scheduler=step: set it to the epochs after which "
                "the learning rate falls, such as 10,20"
            )


def check(raw: Mapping[str, str]) -> Hyperparameters:
    """Return the checked hyperparameters; `crop_size`, as the built-in rounds it, and `inference_size` in steps of 8.

    Raises UserError, also for values that do not go together.
    """
    values = defaults(Hyperparameters) | resolve(raw, Hyperparameters)
    inference_size = values["inference_size"] or values["base_size"]
    rounded = {"crop_size": _rounded(values["crop_size"]), "inference_size": _rounded(inference_size)}
    return Hyperparameters(**values | rounded)


def _rounded(size: int) -> int:
    """Return `size` rounded up to a multiple of SIDE_STEP pixels."""
    return -(-size // SIDE_STEP) * SIDE_STEP


def say(hp: Hyperparameters) -> None:
    """Print the configuration, and a line for each that does less here than its name says."""
    LOG.info("Final configuration: %s", asdict(hp))
    if hp.syncbn:
        LOG.info("syncbn=True changes nothing: it is about several GPUs, and this image trains on one CPU")
    if hp.lr_scheduler == "step":
        common.warn_of_late_steps(hp.lr_scheduler_step, hp.epochs)
    elif hp.lr_scheduler_step:
        LOG.warning(
            "lr_scheduler_step=%s is ignored: lr_scheduler is %s, not step",
            *(",".join(map(str, hp.lr_scheduler_step)), hp.lr_scheduler),
        )
    common.warn_of_float16(hp.precision_dtype)
