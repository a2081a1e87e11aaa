"""What the hyperparameters of both classifiers have in common: fields, what goes together, how they are printed."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

from train.errors import UserError
from train.hyperparameters import choice, integer, real
from train.log import LOG

Resize = Literal["crop", "stretch"]


def momentum() -> Any:
    """Of SGD with and without Nesterov's momentum."""
    return real(0.9, doc="Momentum of sgd and nag.")


def weight_decay() -> Any:
    """Of SGD with and without Nesterov's momentum."""
    return real(0.0001, doc="Weight decay of sgd and nag, of the kernels only, not of BatchNorm and biases.")


def beta_1() -> Any:
    """Below 1, because Adam divides by 1 - beta."""
    return real(0.9, without=(1,), doc="Decay of adam's first moment.")


def beta_2() -> Any:
    """Below 1, because Adam divides by 1 - beta."""
    return real(0.999, without=(1,), doc="Decay of adam's second moment.")


def gamma() -> Any:
    """Of RMSProp."""
    return real(0.9, doc="Decay of rmsprop's mean of squared gradients.")


def top_k() -> Any:
    """The k of the accuracy that is logged beside the usual one."""
    return integer(None, 2, doc="Also log the top-k accuracy; at most the number of classes.")


def inference_resize() -> Any:
    """How a photo becomes the network's input outside of training."""
    doc = (
        "**Ours.** crop: scale the photo as `resize` says, then take the centre. stretch: scale it to `image_shape`, "
        "ignoring the aspect ratio, as the built-in documents it for inference. Validation follows it too."
    )
    return choice("crop", get_args(Resize), doc)


def check(image_shape: tuple[int, int, int], resize: int | None, top_k: int | None, classes: int | None) -> None:
    """Raise UserError for values that do not go together; `classes` is None when they are not counted yet."""
    _, height, width = image_shape
    if resize is not None and resize < min(height, width):
        raise UserError(
            f"hyperparameter resize={resize} is smaller than image_shape={height}x{width}: "
            f"the shorter side after resize must cover the crop's, so set resize to at least {min(height, width)}"
        )
    if top_k and classes is not None and top_k > classes:
        raise UserError(
            f"hyperparameter top_k={top_k} is above num_classes={classes}: set it to at most num_classes, or remove it"
        )


def say(values: Mapping[str, Any]) -> None:
    """Print the hyperparameters as image-classification does."""
    LOG.info("Final configuration: %s", values)
    LOG.info("---- Parameters ----")
    for name, value in values.items():
        LOG.info("%s: %s", name, value)
    LOG.info("--------------------")
