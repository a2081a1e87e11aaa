"""Accept the hyperparameters of SageMaker's built-in "Image Classification - TensorFlow".

Despite the similar name, this image is a different algorithm: it trains one network, from the user's files. Users of
the built-in need not rewrite every hyperparameter: those with an equivalent here are translated to it, and the others
are accepted if their values would have no effect here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from train import fields
from train.errors import UserError
from train.log import LOG

_OTHER = "it belongs to SageMaker's built-in TensorFlow image classification and is not supported here"
_FLIP, _ROTATION, _ZOOM = "augmentation_random_flip", "augmentation_random_rotation", "augmentation_random_zoom"
_BOTH_WAYS = "horizontal_and_vertical"
_DEFAULTS: dict[str, Any] = {_FLIP: _BOTH_WAYS, _ROTATION: 0.2, _ZOOM: 0.1}  # the built-in's, if augmentation=True


def _fraction(below: float) -> Any:
    """Return a field for a number from `-below` to `below`. The sign is ignored, because the range is symmetric."""

    def parse(text: str) -> float:
        value = abs(float(text))
        if not value <= below:
            raise ValueError
        return value

    return fields.Hyperparameter(parse, f"a number from {-below:g} to {below:g}", None).as_field()


def _neutral(*values: str) -> Any:
    """Return a field without an equivalent here. Only these values are accepted; 0 may also be written as 0.0."""

    def parse(text: str) -> str:
        if text.lower() not in values and not (values == ("0",) and float(text) == 0):
            raise ValueError
        return text

    valid = f"only {' or '.join(values)}, because {_OTHER}: remove it"
    return fields.Hyperparameter(parse, valid, None, ignored="").as_field()


@dataclass(frozen=True, kw_only=True)
class BuiltinNames:
    """Hyperparameters that are accepted for compatibility with the built-in."""

    train_only_top_layer: bool = fields.flag(None)
    """True means `train_layers=head`, False `train_layers=all`."""
    dropout_rate: float = fields.real(None, without=(1,))
    """Same as `dropout`."""
    epsilon: float = fields.real(None, without=(0,))
    """Same as `eps`."""
    rho: float = fields.real(None)
    """Same as `gamma`."""
    early_stopping_min_delta: float = fields.real(None)
    """Used as `early_stopping_tolerance`, which is relative to the best accuracy."""
    augmentation: bool = fields.flag(None)
    """False means `horizontal_flip=0`, `rotation_range=0` and `zoom_range=0`. True means the values of the next three
    hyperparameters, or their defaults in the built-in."""
    augmentation_random_flip: str = fields.choice(None, (_BOTH_WAYS, "horizontal", "vertical", "none"))
    """Used as `horizontal_flip`. Photos are not flipped vertically; a warning says so."""
    augmentation_random_rotation: float = _fraction(1)
    """Used as `rotation_range`: 0.2 of a full circle is 72 degrees."""
    augmentation_random_zoom: float = _fraction(0.99)
    """Same as `zoom_range`."""
    initial_accumulator_value: float = fields.Hyperparameter(float, "a number", None, ignored="").as_field()
    """No effect: it belongs to adagrad, which is not supported."""
    binary_mode: bool = fields.flag(None)
    """True means `num_classes=2`. A prediction has both probabilities."""
    eval_metric: str = _neutral("accuracy", "auto")
    """No effect: accepted only for compatibility."""
    image_resize_interpolation: str = _neutral("bilinear")
    """No effect: accepted only for compatibility."""
    label_smoothing: str = _neutral("0")
    """No effect: accepted only for compatibility."""
    regularizers_l2: str = _neutral("0")
    """No effect: accepted only for compatibility."""
    reinitialize_top_layer: str = _neutral("auto", "true")
    """No effect: accepted only for compatibility."""


_DIFFERENCES = {"early_stopping_min_delta": ", which is relative to the best value; the built-in's is absolute"}
_RENAMED = {
    "dropout_rate": "dropout",
    "epsilon": "eps",
    "rho": "gamma",
    "early_stopping_min_delta": "early_stopping_tolerance",
}


def translate(values: dict[str, Any], texts: Mapping[str, str]) -> None:
    """Replace the built-in's names in `values` with ours, and log each. `texts` has the values as the user wrote them.

    Raises UserError if the user set a hyperparameter under both names, to different values.
    """
    theirs = {name: values.pop(name, None) for name in fields.rows([BuiltinNames])}
    for name, equivalent in _equivalents(theirs).items():
        settings = ", ".join(f"{ours}={value}" for ours, value in equivalent.items())
        for ours, value in equivalent.items():
            if values.get(ours, value) != value:
                raise UserError(
                    f"hyperparameter {ours}={texts[ours]} contradicts {name}, which means {settings} here: set only one"
                )
        values |= equivalent
        LOG.info("%s means %s%s", name, settings, _DIFFERENCES.get(name.partition("=")[0], ""))
    if values.get("optimizer") == "nesterov":
        values["optimizer"] = "nag"
        LOG.info("optimizer=nesterov means optimizer=nag")
    if theirs["binary_mode"]:
        if values.get("num_classes", 2) != 2:
            raise UserError(
                f"hyperparameter binary_mode=True contradicts num_classes={values['num_classes']}, because it means 2 "
                "classes: remove one of them"
            )
        values["num_classes"] = 2
        LOG.info("binary_mode=True means num_classes=2: a prediction has a probability for each class")


def _equivalents(theirs: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return our settings, by the built-in's setting ("NAME=VALUE") that they replace."""
    ours = {f"{name}={theirs[name]}": {renamed: theirs[name]} for name, renamed in _RENAMED.items()}
    only_top = theirs["train_only_top_layer"]
    ours[f"train_only_top_layer={only_top}"] = {"train_layers": "head" if only_top else "all"}
    ours = {name: settings for name, settings in ours.items() if not name.endswith("=None")}
    augmented = _augmented(theirs)
    names = [f"{name}={theirs[name]}" for name in ("augmentation", *_DEFAULTS) if theirs[name] is not None]
    return ours | ({", ".join(names): augmented} if augmented else {})


def _augmented(theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Return our three augmentation hyperparameters, or only those whose equivalents the user set."""
    if theirs["augmentation"] is False:
        return {"horizontal_flip": False, "rotation_range": 0.0, "zoom_range": 0.0}
    user_set = {name: theirs[name] for name in _DEFAULTS if theirs[name] is not None}
    chosen = _DEFAULTS | user_set if theirs["augmentation"] else user_set
    ours: dict[str, Any] = {}
    if _FLIP in chosen:
        ours["horizontal_flip"] = chosen[_FLIP] in (_BOTH_WAYS, "horizontal")
        if chosen[_FLIP] in (_BOTH_WAYS, "vertical"):
            LOG.warning("%s=%s: photos are not flipped vertically here", _FLIP, chosen[_FLIP])
    if _ROTATION in chosen:
        ours["rotation_range"] = min(360 * chosen[_ROTATION], 180.0)  # the built-in's is a fraction of a full circle
    if _ZOOM in chosen:
        ours["zoom_range"] = chosen[_ZOOM]
    return ours
