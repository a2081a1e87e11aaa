"""The hyperparameters of SageMaker's own "Image Classification - TensorFlow", which bears almost the same name.

This image is not that one: it trains one network, from files that it is given. But whoever comes from there should not
have to rewrite every hyperparameter, so those that have an equal here are taken as it, and those that have none are
taken at the value at which they change nothing.
"""

from collections.abc import Mapping
from typing import Any

from train.errors import UserError
from train.hyperparameters import Hyperparameter, choice, flag, real
from train.log import LOG

_OTHER = "it belongs to SageMaker's own TensorFlow image classification and is not known here"
_FLIP, _ROTATION, _ZOOM = "augmentation_random_flip", "augmentation_random_rotation", "augmentation_random_zoom"
_BOTH_WAYS = "horizontal_and_vertical"
_DEFAULTS: dict[str, Any] = {_FLIP: _BOTH_WAYS, _ROTATION: 0.2, _ZOOM: 0.1}  # of the built-in, with augmentation=True


def _fraction(name: str, below: float) -> Hyperparameter:
    """A number from -1 to 1, whose sign says nothing: the range is taken both ways."""

    def parse(text: str) -> float:
        value = abs(float(text))
        if not value <= below:
            raise ValueError
        return value

    return Hyperparameter(name, parse, f"a number from {-below:g} to {below:g}", None)


def _neutral(name: str, *values: str) -> Hyperparameter:
    """One that has no equal, and changes nothing at one of these values; 0 is one in any spelling."""

    def parse(text: str) -> str:
        if text.lower() not in values and not (values == ("0",) and float(text) == 0):
            raise ValueError
        return text

    valid = f"only {' or '.join(values)}, because {_OTHER}: remove it"
    return Hyperparameter(name, parse, valid, None, ignored="")


ROWS: tuple[Hyperparameter, ...] = (
    flag("train_only_top_layer", None),
    real("dropout_rate", None, without=(1,)),
    real("epsilon", None, without=(0,)),
    real("rho", None),
    real("early_stopping_min_delta", None),
    flag("augmentation", None),
    choice(_FLIP, None, (_BOTH_WAYS, "horizontal", "vertical", "none")),
    _fraction(_ROTATION, 1),
    _fraction(_ZOOM, 0.99),
    Hyperparameter("initial_accumulator_value", float, "a number", None, ignored=""),  # of adagrad, which is not here
    flag("binary_mode", None),
    _neutral("eval_metric", "accuracy", "auto"),
    _neutral("image_resize_interpolation", "bilinear"),
    _neutral("label_smoothing", "0"),
    _neutral("regularizers_l2", "0"),
    _neutral("reinitialize_top_layer", "auto", "true"),
)
_UNLIKE = {"early_stopping_min_delta": ", which is relative to the best, where the built-in's is absolute"}
_RENAMED = {
    "dropout_rate": "dropout",
    "epsilon": "eps",
    "rho": "gamma",
    "early_stopping_min_delta": "early_stopping_tolerance",
}


def translate(values: dict[str, Any], given: Mapping[str, str]) -> None:
    """Put what `given`, the user's texts, says by the built-in's names under ours, with a line for each.

    Raises UserError for what it says by both names with two values.
    """
    theirs = {row.name: values.pop(row.name) for row in ROWS if row.ignored is None}
    for name, equals in _equals(theirs).items():
        told = ", ".join(f"{ours}={value}" for ours, value in equals.items())
        for ours, value in equals.items():
            if ours in given and values[ours] != value:
                raise UserError(
                    f"hyperparameter {ours}={given[ours]} contradicts {name}, which is {told} here: set one of them"
                )
        values |= equals
        LOG.info("%s is taken as %s%s", name, told, _UNLIKE.get(name.partition("=")[0], ""))
    if values["optimizer"] == "nesterov":
        values["optimizer"] = "nag"
        LOG.info("optimizer=nesterov is taken as optimizer=nag")
    if theirs["binary_mode"]:
        if values["num_classes"] not in (None, 2):
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
