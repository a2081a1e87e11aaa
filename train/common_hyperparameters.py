"""Hyperparameters that several algorithms have: their fields, each with the text of the documentation.

The docstring of a field in an algorithm's dataclass takes the place of that text.
"""

from typing import Any

from train.hyperparameters import REQUIRED, choice, flag, integer, real, steps
from train.log import LOG


def num_training_samples() -> Any:
    """Of the built-ins that plan `lr_scheduler_step` by it."""
    doc = (
        "Number of training images. With `mini_batch_size` it gives the updates per epoch, by which "
        "`lr_scheduler_step` is counted. If the data has another number, the log has a warning."
    )
    return integer(REQUIRED, 1, doc=doc)


def epochs(default: int) -> Any:
    """The most passes over the training data."""
    return integer(default, 1, doc="Passes over the training images.")


def mini_batch_size(default: int) -> Any:
    """The images of an update, all hosts together."""
    return integer(default, 1, doc="Images per update; at most the number of training images.")


def lr_scheduler_step() -> Any:
    """The epochs after which the learning rate falls."""
    return steps(doc="After each of these epochs the learning rate is multiplied by `lr_scheduler_factor`.")


def lr_scheduler_factor(without: tuple[int, ...] = ()) -> Any:
    """What the learning rate is multiplied by."""
    return real(0.1, without, doc="Factor of the learning rate at each `lr_scheduler_step`.")


def early_stopping() -> Any:
    """Whether training may end early; see train/early_stopping.py."""
    return flag(False, doc="End training when the validation metric no longer improves.")


def early_stopping_min_epochs(default: int) -> Any:
    """The epochs before which training does not end early."""
    return integer(default, 0, doc="Epochs that are trained in any case.")


def early_stopping_patience(default: int) -> Any:
    """The epochs without improvement after which training ends."""
    return integer(default, 0, doc="Epochs without improvement after which training ends; 0 has the effect of 1.")


def early_stopping_tolerance() -> Any:
    """The least improvement that counts."""
    return real(0.0, doc="An improvement below this share of the best value so far does not count.")


def precision_dtype() -> Any:
    """The type that the built-ins compute in."""
    doc = "float16 is computed as float32, with a warning: these images train on the CPU."
    return choice("float32", ("float32", "float16"), doc)


def kv_store() -> Any:
    """MXNet's ways of sharing weights, by all of its names."""
    names = ("local", "device", "dist_sync", "dist_async", "dist_device_sync", "dist_sync_device")
    return choice(None, names, "Not used, because the job has one host; the log says so.")


def unreadable_tolerance() -> Any:
    """The share of images that may be damaged."""
    return real(0.05, doc="**Ours.** Share of the images that may be unreadable before the job fails.")


def seed() -> Any:
    """The seed of all random numbers."""
    doc = "**Ours.** Seed of the first weights, the order of the images and augmentation."
    return integer(0, 0, 2**31 - 1, doc=doc)


def warn_of_late_steps(lr_scheduler_step: tuple[int, ...], epochs: int) -> None:
    """Warn of a learning rate that is to fall after the last epoch."""
    late = [str(step) for step in lr_scheduler_step if step >= epochs]
    if late:
        LOG.warning(
            "lr_scheduler_step=%s is not below epochs=%d: the learning rate does not fall there",
            *(",".join(late), epochs),
        )


def warn_of_float16(precision_dtype: str) -> None:
    """Warn of a `precision_dtype` that is not computed in."""
    if precision_dtype == "float16":
        LOG.warning(
            "precision_dtype=float16 is computed as float32: this image trains on the CPU, where float16 is slower"
        )


def say_kv_store(kv_store: str | None) -> None:
    """Log that a `kv_store` has no effect."""
    if kv_store:
        LOG.info("kv_store=%s is not used: the job has one host", kv_store)
