"""The hyperparameters of SageMaker's own "Image Classification - TensorFlow", which bears almost the same name.

This image is not that one: it trains one network, from files that it is given. But whoever comes from there should not
have to rewrite every hyperparameter, so those that have an equal here are taken as it, and those that have none are
taken at the value at which they change nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from train import fields
from train.errors import UserError
from train.log import LOG

_OTHER = "it belongs to SageMaker's own TensorFlow image classification and is not known here"
_FLIP, _ROTATION, _ZOOM = "augmentation_random_flip", "augmentation_random_rotation", "augmentation_random_zoom"
_BOTH_WAYS = "horizontal_and_vertical"
_DEFAULTS: dict[str, Any] = {_FLIP: _BOTH_WAYS, _ROTATION: 0.2, _ZOOM: 0.1}  # of the built-in, with augmentation=True


def _fraction(below: float) -> Any:
    """A number from -1 to 1, whose sign says nothing: the range is taken both ways."""

    def parse(text: str) -> float:
        value = abs(float(text))
        if not value <= below:
            raise ValueError
        return value

    return fields.Hyperparameter(parse, f"a number from {-below:g} to {below:g}", None).as_field()


def _neutral(*values: str) -> Any:
    """One that has no equal, and changes nothing at one of these values; 0 is one in any spelling."""

    def parse(text: str) -> str:
        if text.lower() not in values and not (values == ("0",) and float(text) == 0):
            raise ValueError
        return text

    valid = f"only {' or '.join(values)}, because {_OTHER}: remove it"
    return fields.Hyperparameter(parse, valid, None, ignored="").as_field()


@dataclass(frozen=True, kw_only=True)
class Names:
    """What is accepted for the sake of that image."""

    train_only_top_layer: bool = fields.flag(None)
    """True is taken as `train_layers=head`, False as `train_layers=all`."""
    dropout_rate: float = fields.real(None, without=(1,))
    """Taken as `dropout`."""
    epsilon: float = fields.real(None, without=(0,))
    """Taken as `eps`."""
    rho: float = fields.real(None)
    """Taken as `gamma`."""
    early_stopping_min_delta: float = fields.real(None)
    """Taken as `early_stopping_tolerance`, which is relative to the best accuracy."""
    augmentation: bool = fields.flag(None)
    """False is taken as `horizontal_flip=0`, `rotation_range=0` and `zoom_range=0`, True as what the next three say, or
    else their defaults there."""
    augmentation_random_flip: str = fields.choice(None, (_BOTH_WAYS, "horizontal", "vertical", "none"))
    """Taken as `horizontal_flip`; photos are not flipped upside down, and a warning says so."""
    augmentation_random_rotation: float = _fraction(1)
    """Taken as `rotation_range`: 0.2 of a full circle is 72 degrees."""
    augmentation_random_zoom: float = _fraction(0.99)
    """Taken as `zoom_range`."""
    initial_accumulator_value: float = fields.Hyperparameter(float, "a number", None, ignored="").as_field()
    """No effect: it belongs to adagrad, which is not here."""
    binary_mode: bool = fields.flag(None)
    """True is taken as `num_classes=2`; the answer has both probabilities."""
    eval_metric: str = _neutral("accuracy", "auto")
    """No effect: it is what happens here anyway."""
    image_resize_interpolation: str = _neutral("bilinear")
    """No effect: it is what happens here anyway."""
    label_smoothing: str = _neutral("0")
    """No effect: it is what happens here anyway."""
    regularizers_l2: str = _neutral("0")
    """No effect: it is what happens here anyway."""
    reinitialize_top_layer: str = _neutral("auto", "true")
    """No effect: it is what happens here anyway."""


_UNLIKE = {"early_stopping_min_delta": ", which is relative to the best, where the built-in's is absolute"}
_RENAMED = {
    "dropout_rate": "dropout",
    "epsilon": "eps",
    "rho": "gamma",
    "early_stopping_min_delta": "early_stopping_tolerance",
}


def translate(values: dict[str, Any], texts: Mapping[str, str]) -> None:
    """Put what the user set by the built-in's names under ours, with a line for each; `texts` are the user's words.

    Raises UserError for what is set by both names to two values.
    """
    theirs = {name: values.pop(name, None) for name in fields.rows([Names])}
    for name, equals in _equals(theirs).items():
        told = ", ".join(f"{ours}={value}" for ours, value in equals.items())
        for ours, value in equals.items():
            if values.get(ours, value) != value:
                raise UserError(
                    f"hyperparameter {ours}={texts[ours]} contradicts {name}, which is {told} here: set one of them"
                )
        values |= equals
        LOG.info("%s is taken as %s%s", name, told, _UNLIKE.get(name.partition("=")[0], ""))
    if values.get("optimizer") == "nesterov":
        values["optimizer"] = "nag"
        LOG.info("optimizer=nesterov is taken as optimizer=nag")
    if theirs["binary_mode"]:
        if values.get("num_classes", 2) != 2:
            raise UserError(
                f"hyperparameters binary_mode=True, which is for two classes, and num_classes={values['num_classes']} "
                "contradict each other: remove one of them"
            )
        values["num_classes"] = 2
        LOG.info("binary_mode=True is taken as num_classes=2: the answer has a probability for both classes")


def _equals(theirs: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return our names and values by the built-in's name and value that they come from."""
    found = {f"{name}={theirs[name]}": {ours: theirs[name]} for name, ours in _RENAMED.items()}
    only_top = theirs["train_only_top_layer"]
    found[f"train_only_top_layer={only_top}"] = {"train_layers": "head" if only_top else "all"}
    found = {name: equals for name, equals in found.items() if not name.endswith("=None")}
    augmented = _augmented(theirs)
    names = [f"{name}={theirs[name]}" for name in ("augmentation", *_DEFAULTS) if theirs[name] is not None]
    return found | ({", ".join(names): augmented} if augmented else {})


def _augmented(theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Return our three hyperparameters of augmentation, or those of them that are set."""
    if theirs["augmentation"] is False:
        return {"horizontal_flip": False, "rotation_range": 0.0, "zoom_range": 0.0}
    given = {name: theirs[name] for name in _DEFAULTS if theirs[name] is not None}
    chosen = _DEFAULTS | given if theirs["augmentation"] else given
    found: dict[str, Any] = {}
    if _FLIP in chosen:
        found["horizontal_flip"] = chosen[_FLIP] in (_BOTH_WAYS, "horizontal")
        if chosen[_FLIP] in (_BOTH_WAYS, "vertical"):
            LOG.warning("%s=%s: photos are not flipped upside down here", _FLIP, chosen[_FLIP])
    if _ROTATION in chosen:
        found["rotation_range"] = min(360 * chosen[_ROTATION], 180.0)  # theirs is a share of the full circle
    if _ZOOM in chosen:
        found["zoom_range"] = chosen[_ZOOM]
    return found
