"""The hyperparameters of object-detection: the built-in's, then our own additions."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from serve.artifact import MAX_TOP_K
from train import fields
from train.errors import UserError
from train.hyperparameter_types import CommonHyperparameters, log_kv_store, resolve, warn_of_late_steps
from train.log import LOG

# The built-in takes 300 and more; smaller pictures are ours, for CPUs and small jobs.
BUILT_IN_SMALLEST, SMALLEST = 300, 64
# A label: header width and object width, then class, xmin, ymin, xmax, ymax for each object.
LABEL_HEADER, LABEL_OBJECT = 2, 5


@dataclass(frozen=True, kw_only=True)
class Hyperparameters(CommonHyperparameters):
    """Checked values; the fields are also what is accepted, in the order in which the log and the page have them."""

    num_classes: int = fields.integer(fields.REQUIRED, 1)
    """Number of classes without the background; classes are 0 to `num_classes` - 1."""
    num_training_samples: int = fields.integer(fields.REQUIRED, 1)
    base_network: str = fields.choice("vgg-16", ("vgg-16", "resnet-50", "resnet-18"))
    """Network that finds the features. **Ours:** resnet-18, for CPUs and small jobs."""
    use_pretrained_model: bool = fields.flag(True)
    """Start the base network from ImageNet weights: [pretrained.md](pretrained.md). The built-in's documentation says
    1 and its shipped defaults 0, so set it."""
    image_shape: int = fields.integer(BUILT_IN_SMALLEST, SMALLEST, 1024)
    """Every photo is stretched to a square of this side; 300 and 512 are advised. **Ours:** below 300, with a
    warning."""
    epochs: int = fields.integer(30, 1)
    mini_batch_size: int = fields.integer(32, 1)
    optimizer: str = fields.choice("sgd", ("sgd", "adam", "rmsprop", "adadelta"))
    """The built-in's others need no hyperparameters."""
    learning_rate: float = fields.real(0.001, without=(0,))
    lr_scheduler_factor: float = fields.real(0.1, without=(0, 1))
    lr_scheduler_step: tuple[int, ...] = fields.steps()
    # The built-in refuses a momentum of 0 and a weight_decay of 0 and 1; notebooks send 0 for "none".
    momentum: float = fields.real(0.9)
    """Momentum of sgd."""
    weight_decay: float = fields.real(0.0005)
    """Weight decay of sgd and rmsprop, of the kernels only."""
    overlap_threshold: float = fields.real(0.5)
    """IoU from which a detection counts as right in the mean average precision; above 0."""
    nms_threshold: float = fields.real(0.45)
    """Of two detections of a class with a larger IoU, the endpoint keeps the one with the higher score; above 0."""
    nms_topk: int = fields.integer(400, 1, MAX_TOP_K)
    """Number of the best candidates that are compared so; the built-in has it among its shipped defaults."""
    label_width: int = fields.integer(350, LABEL_HEADER + LABEL_OBJECT)
    """Room for (`label_width` - 2) / 5 objects in a photo; a photo with more is refused by name."""
    freeze_layer_pattern: str | None = fields.pattern()
    """Layers whose names it matches from their beginning keep their weights; see below."""
    early_stopping: bool = fields.flag(False)
    early_stopping_min_epochs: int = fields.integer(10, 0)
    early_stopping_patience: int = fields.integer(5, 0)
    early_stopping_tolerance: float = fields.real(0.0)
    kv_store: str | None = fields.kv_store()
    """On several hosts dist_sync, whatever is given; on one it is not used. The log says so."""
    # Ours: the built-in has no such hyperparameters.
    unreadable_tolerance: float = fields.real(0.05)
    seed: int = fields.integer(0, 0, 2**31 - 1)
    quantize: str | None = fields.choice(None, ("int8",))
    quantize_tolerance: float = fields.real(0.01)

    def __post_init__(self) -> None:
        """Raise UserError for a threshold of 0."""
        for name, value in (("overlap_threshold", self.overlap_threshold), ("nms_threshold", self.nms_threshold)):
            if value == 0:
                raise UserError(f"hyperparameter {name}=0 would match boxes that do not touch: set it above 0, up to 1")

    def max_objects(self) -> int:
        """Return how many objects of one picture `label_width` has room for."""
        return (self.label_width - LABEL_HEADER) // LABEL_OBJECT

    def freezes(self, name: str) -> bool:
        """Return whether `freeze_layer_pattern` matches a parameter's name from its beginning, as MXNet does it."""
        return self.freeze_layer_pattern is not None and re.match(self.freeze_layer_pattern, name) is not None

    def log(self, hosts: int = 1) -> None:
        """Print the configuration, and a line for each that does less here than its name says."""
        LOG.info("Final configuration: %s", self.values())
        warn_of_late_steps(self)
        if self.image_shape < BUILT_IN_SMALLEST:
            LOG.warning(
                "image_shape=%d is smaller than the built-in's least, %d: fast, and small objects will be missed",
                *(self.image_shape, BUILT_IN_SMALLEST),
            )
        log_kv_store(self.kv_store, hosts)


ACCEPTED = (Hyperparameters,)


def check(raw: Mapping[str, str]) -> Hyperparameters:
    """Return the checked hyperparameters. Raises UserError."""
    return Hyperparameters(**resolve(raw, ACCEPTED))
