"""Check whether a checkpoint belongs to this job: compare properties and hyperparameters."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from train.errors import UserError
from train.log import LOG

FREE = frozenset(
    {
        "epochs",
        "early_stopping",
        "early_stopping_min_epochs",
        "early_stopping_patience",
        "early_stopping_tolerance",
        "unreadable_tolerance",
        "learning_rate",
        "lr_scheduler",
        "lr_scheduler_factor",
        "lr_scheduler_step",
    }
)
"""Hyperparameters that may change: they control how long training takes, or are read for each update."""

FROM_THE_FIRST_EPOCH = "train from the first epoch with a checkpoint folder that is empty (another checkpoint_s3_uri)"


def plain(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return the identity as it would be read back from a file."""
    return json.loads(json.dumps(identity))


def check(path: Path, saved: Mapping[str, Any], current: Mapping[str, Any]) -> None:
    """Compare the identity in the checkpoint `path` with this job's, and log the hyperparameters that changed.

    Raises a UserError that lists all other differences with both values. A property that only one of them has is not
    compared, because a newer version of this program may save more properties.
    """
    differences = [_difference(name, *values) for name, values in _changes(saved, current) if name != "hyperparameters"]
    changes = dict(_changes(saved["hyperparameters"], current["hyperparameters"]))
    differences += [
        _difference(f"hyperparameter {name}", *values) for name, values in changes.items() if name not in FREE
    ]
    if differences:
        raise UserError(
            f"the checkpoint {path} belongs to another job: {'; '.join(differences)}. Restore the old values, or "
            f"{FROM_THE_FIRST_EPOCH}"
        )
    for name, (before, after) in changes.items():
        LOG.info("%s changed from %s to %s", name, _text(before), _text(after))


def _changes(saved: Mapping[str, Any], current: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Any, Any]]]:
    for name in current:
        if name in saved and saved[name] != current[name]:
            yield name, (saved[name], current[name])


def _difference(name: str, saved: Any, current: Any) -> str:
    if name == "classes":
        if len(saved) != len(current):
            saved, current = len(saved), len(current)
        else:
            number = next(index for index, pair in enumerate(zip(saved, current, strict=True)) if pair[0] != pair[1])
            name, saved, current = f"class {number}", saved[number], current[number]
    return f"{name}: {_text(saved)} in the checkpoint, {_text(current)} in this job"


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
