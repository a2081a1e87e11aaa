"""The hyperparameters of all classifiers: their common fields, checks and log lines."""

from typing import Literal

from train.errors import UserError
from train.hyperparameter_types import CommonHyperparameters, warn_of_late_steps
from train.log import LOG

Resize = Literal["crop", "stretch"]


class ClassifierHyperparameters(CommonHyperparameters):
    """The attributes that every classifier's dataclass defines as fields."""

    resize: int | None
    image_shape: tuple[int, int, int]
    """Input of the network."""
    beta_1: float
    """Decay of adam's mean of gradients."""
    beta_2: float
    """Decay of adam's mean of squared gradients."""
    eps: float
    """Added to the divisor of adam and rmsprop."""
    gamma: float
    """Decay of rmsprop's mean of squared gradients."""
    top_k: int | None
    """Also log the top-k accuracy. At most the number of classes."""
    inference_resize: Resize
    """**Ours.** crop: scale the photo to `resize`, then take the centre. stretch: scale it to `image_shape`, ignoring
    the aspect ratio, as documented for inference with the built-in. Also applies to validation."""

    def __post_init__(self) -> None:
        """Raise UserError for values that contradict each other. `top_k` is checked once num_classes is known."""
        _, height, width = self.image_shape
        if self.resize is not None and self.resize < min(height, width):
            raise UserError(
                f"hyperparameter resize={self.resize} is smaller than image_shape={height}x{width}: set resize to at "
                f"least {min(height, width)}, so that the resized photo covers the crop"
            )
        if self.top_k and self.num_classes is not None and self.top_k > self.num_classes:
            raise UserError(
                f"hyperparameter top_k={self.top_k} is above num_classes={self.num_classes}: set it to at most "
                "num_classes, or remove it"
            )

    def log(self, hosts: int = 1) -> None:
        """Log the hyperparameters in the format of image-classification."""
        LOG.info("Final configuration: %s", self.values())
        LOG.info("---- Parameters ----")
        for name, value in self.values().items():
            LOG.info("%s: %s", name, value)
        LOG.info("--------------------")
        warn_of_late_steps(self)
