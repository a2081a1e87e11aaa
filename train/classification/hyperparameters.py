"""What the hyperparameters of all classifiers have in common: what goes together, and how they are printed."""

from typing import Literal

from train.errors import UserError
from train.hyperparameter_types import CommonHyperparameters, warn_of_late_steps
from train.log import LOG

Resize = Literal["crop", "stretch"]


class ClassifierHyperparameters(CommonHyperparameters):
    """What the dataclass of every classifier has, each as a field of its own."""

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
    """Also log the top-k accuracy; at most the number of classes."""
    inference_resize: Resize
    """**Ours.** crop: scale the photo as `resize` says, then take the centre. stretch: scale it to `image_shape`,
    ignoring the aspect ratio, as the built-in documents it for inference. Validation follows it too."""

    def __post_init__(self) -> None:
        """Raise UserError for values that do not go together, once the classes are counted for top_k too."""
        _, height, width = self.image_shape
        if self.resize is not None and self.resize < min(height, width):
            raise UserError(
                f"hyperparameter resize={self.resize} is smaller than image_shape={height}x{width}: "
                f"the shorter side after resize must cover the crop's, so set resize to at least {min(height, width)}"
            )
        if self.top_k and self.num_classes is not None and self.top_k > self.num_classes:
            raise UserError(
                f"hyperparameter top_k={self.top_k} is above num_classes={self.num_classes}: set it to at most "
                "num_classes, or remove it"
            )

    def log(self, hosts: int = 1) -> None:
        """Print the hyperparameters as image-classification does."""
        LOG.info("Final configuration: %s", self.values())
        LOG.info("---- Parameters ----")
        for name, value in self.values().items():
            LOG.info("%s: %s", name, value)
        LOG.info("--------------------")
        warn_of_late_steps(self)
