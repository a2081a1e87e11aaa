"""The hyperparameters of object-detection: the built-in's, then our own additions."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from serve.artifact import MAX_TOP_K
from train import common_hyperparameters as common
from train.hyperparameters import REQUIRED, choice, flag, integer, pattern, real, resolve
from train.log import LOG

# The built-in takes 300 and more; smaller pictures are ours, for CPUs and small jobs.
BUILT_IN_SMALLEST, SMALLEST = 300, 64
# A label: header width and object width, then class, xmin, ymin, xmax, ymax for each object.
LABEL_HEADER, LABEL_OBJECT = 2, 5


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """Checked values; the fields are also what is accepted, in the order in which the log and the page have them."""

    num_classes: int = integer(REQUIRED, 1)
    """Number of classes without the background; classes are 0 to `num_classes` - 1."""
    num_training_samples: int = common.num_training_samples()
    base_network: str = choice("vgg-16", ("vgg-16", "resnet-50", "resnet-18"))
    """Network that finds the features. **Ours:** resnet-18, for CPUs and small jobs."""
    use_pretrained_model: bool = flag(True)
    """Start the base network from ImageNet weights: [pretrained.md](pretrained.md). The built-in's documentation says
    1 and its shipped defaults 0, so set it."""
    image_shape: int = integer(BUILT_IN_SMALLEST, SMALLEST, 1024)
    """Every photo is stretched to a square of this side; 300 and 512 are advised. **Ours:** below 300, with a
    warning."""
    epochs: int = common.epochs(30)
    mini_batch_size: int = common.mini_batch_size(32)
    optimizer: str = choice("sgd", ("sgd", "adam", "rmsprop", "adadelta"))
    """Optimizer."""
    learning_rate: float = real(0.001, without=(0,))
    """Learning rate at the start."""
    lr_scheduler_factor: float = common.lr_scheduler_factor(without=(0, 1))
    lr_scheduler_step: tuple[int, ...] = common.lr_scheduler_step()
    # The built-in refuses a momentum of 0 and a weight_decay of 0 and 1; notebooks send 0 for "none".
    momentum: float = real(0.9)
    """Momentum of sgd."""
    weight_decay: float = real(0.0005)
    """Weight decay of sgd and rmsprop, of the kernels only."""
    overlap_threshold: float = real(0.5, without=(0,))
    """IoU from which a detection counts as right in the mean average precision."""
    nms_threshold: float = real(0.45, without=(0,))
    """Of two detections of a class with a larger IoU, the endpoint keeps the one with the higher score."""
    nms_topk: int = integer(400, 1, MAX_TOP_K)
    """Number of the best candidates that are compared so; the built-in has it among its shipped defaults."""
    label_width: int = integer(350, LABEL_HEADER + LABEL_OBJECT)
    """Room for (`label_width` - 2) / 5 objects in a photo; a photo with more is refused by name."""
    freeze_layer_pattern: str | None = pattern()
    """Layers whose names it matches from their beginning keep their weights; see below."""
    early_stopping: bool = common.early_stopping()
    early_stopping_min_epochs: int = common.early_stopping_min_epochs(10)
    early_stopping_patience: int = common.early_stopping_patience(5)
    early_stopping_tolerance: float = common.early_stopping_tolerance()
    kv_store: str | None = common.kv_store()
    # Ours: the built-in has no such hyperparameters.
    unreadable_tolerance: float = common.unreadable_tolerance()
    seed: int = common.seed()

    def max_objects(self) -> int:
        """Return how many objects of one picture `label_width` has room for."""
        return (self.label_width - LABEL_HEADER) // LABEL_OBJECT

    def freezes(self, name: str) -> bool:
        """Return whether `freeze_layer_pattern` matches a parameter's name from its beginning, as MXNet does it."""
        return self.freeze_layer_pattern is not None and re.match(self.freeze_layer_pattern, name) is not None


def check(raw: Mapping[str, str]) -> Hyperparameters:
    """Return the checked hyperparameters. Raises UserError."""
    return Hyperparameters(**resolve(raw, Hyperparameters))


def say(hp: Hyperparameters) -> None:
    """Print the configuration, and a line for each that does less here than its name says."""
    LOG.info("Final configuration: %s", asdict(hp))
    common.warn_of_late_steps(hp.lr_scheduler_step, hp.epochs)
    if hp.image_shape < BUILT_IN_SMALLEST:
        LOG.warning(
            "image_shape=%d is smaller than the built-in's least, %d: fast, and small objects will be missed",
            *(hp.image_shape, BUILT_IN_SMALLEST),
        )
    common.say_kv_store(hp.kv_store)
