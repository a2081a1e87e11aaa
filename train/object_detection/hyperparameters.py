"""The hyperparameters of object-detection: the built-in's, then our own additions."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from serve.artifact import MAX_TOP_K
from train import fields
from train.errors import UserError
from train.hyperparameter_types import CommonHyperparameters, log_kv_store, resolve, warn_of_late_steps
from train.log import LOG

# The built-in requires at least 300. Smaller pictures are our addition, for CPUs and small jobs.
BUILT_IN_MIN_SIDE, MIN_SIDE = 300, 64
# A label begins with the header width and object width; each object is class, xmin, ymin, xmax, ymax.
LABEL_HEADER, LABEL_OBJECT = 2, 5


@dataclass(frozen=True, kw_only=True)
class Hyperparameters(CommonHyperparameters):
    """Checked hyperparameters. The fields define the accepted names, in the order of the log and the documentation."""

    num_classes: int = fields.integer(fields.REQUIRED, 1)
    """Number of classes, without the background. Classes are 0 to `num_classes` - 1."""
    num_training_samples: int = fields.integer(fields.REQUIRED, 1)
    base_network: str = fields.choice("vgg-16", ("vgg-16", "resnet-50", "resnet-18"))
    """Network that extracts the features. **Ours:** resnet-18, for CPUs and small jobs."""
    use_pretrained_model: bool = fields.flag(True)
    """Start the base network from ImageNet weights: [pretrained.md](pretrained.md). The built-in's documented
    default is 1 but its packaged default is 0, so set it explicitly."""
    image_shape: int = fields.integer(BUILT_IN_MIN_SIDE, MIN_SIDE, 1024)
    """Every photo is stretched to a square with this side. 300 and 512 are recommended. **Ours:** below 300, with a
    warning."""
    epochs: int = fields.integer(30, 1)
    mini_batch_size: int = fields.integer(32, 1)
    optimizer: str = fields.choice("sgd", ("sgd", "adam", "rmsprop", "adadelta"))
    """adam and adadelta have no hyperparameters in the built-in."""
    learning_rate: float = fields.real(0.001, without=(0,))
    lr_scheduler_factor: float = fields.real(0.1, without=(0, 1))
    lr_scheduler_step: tuple[int, ...] = fields.steps()
    # The built-in rejects a momentum of 0 and a weight_decay of 0 and 1, but notebooks send 0 for "none".
    momentum: float = fields.real(0.9)
    """Momentum of sgd."""
    weight_decay: float = fields.real(0.0005)
    """Weight decay of sgd and rmsprop. It applies to kernels only."""
    overlap_threshold: float = fields.real(0.5)
    """Minimum IoU of a correct detection in the mean average precision; above 0."""
    nms_threshold: float = fields.real(0.45)
    """If the IoU of two detections of a class is larger, the endpoint keeps only the better one; above 0."""
    nms_topk: int = fields.integer(400, 1, MAX_TOP_K)
    """Number of the best candidates that are compared in this way. It is one of the built-in's packaged defaults."""
    label_width: int = fields.integer(350, LABEL_HEADER + LABEL_OBJECT)
    """A photo may have (`label_width` - 2) / 5 objects. If one has more, the job fails and names it."""
    freeze_layer_pattern: str | None = fields.pattern()
    """Layers whose names start with a match of this pattern keep their weights; see below."""
    early_stopping: bool = fields.flag(False)
    early_stopping_min_epochs: int = fields.integer(10, 0)
    early_stopping_patience: int = fields.integer(5, 0)
    early_stopping_tolerance: float = fields.real(0.0)
    kv_store: str | None = fields.kv_store()
    """Several hosts always train as with dist_sync; a single host ignores it. The log says so."""
    # Ours: the built-in does not have these hyperparameters.
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
        """Return how many objects in one picture `label_width` allows."""
        return (self.label_width - LABEL_HEADER) // LABEL_OBJECT

    def freezes(self, name: str) -> bool:
        """Return whether `freeze_layer_pattern` matches the start of a parameter's name, as in MXNet."""
        return self.freeze_layer_pattern is not None and re.match(self.freeze_layer_pattern, name) is not None

    def log(self, hosts: int = 1) -> None:
        """Log the hyperparameters, and warn about those that have less effect than their name suggests."""
        LOG.info("Final configuration: %s", self.values())
        warn_of_late_steps(self)
        if self.image_shape < BUILT_IN_MIN_SIDE:
            LOG.warning(
                "image_shape=%d is below the built-in's minimum, %d: training is fast, but misses small objects",
                self.image_shape,
                BUILT_IN_MIN_SIDE,
            )
        log_kv_store(self.kv_store, hosts)


ACCEPTED = (Hyperparameters,)


def check(raw: Mapping[str, str]) -> Hyperparameters:
    """Return the checked hyperparameters. Raises UserError if they are invalid."""
    return Hyperparameters(**resolve(raw, ACCEPTED))
