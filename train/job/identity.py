"""Whether a checkpoint is of this job: what both must have in common, and what may change from one to the other."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from train.errors import UserError
from train.log import LOG

FREE = frozenset(
    {
        *("epochs", "early_stopping", "early_stopping_min_epochs", "early_stopping_patience"),
        *("early_stopping_tolerance", "unreadable_tolerance"),
        *("learning_rate", "lr_scheduler", "lr_scheduler_factor", "lr_scheduler_step"),
    }
)
"""Hyperparameters that may change: they say how long training lasts, or are read again for each update."""

FROM_THE_FIRST_EPOCH = "train from the first epoch with a checkpoint folder that is empty (another checkpoint_s3_uri)"


def plain(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Return the identity as it comes back from a file."""
    return json.loads(json.dumps(identity))


def check(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Compare the identity in the checkpoint `path` with this job's, and log the hyperparameters that have changed.

    Raises UserError naming every other difference with both values. What only one of them knows is not compared: a
    newer version of this program may have more.
    """
    apart = [_difference(name, *values) for name, values in _changed(found, wanted) if name != "hyperparameters"]
    changed = dict(_changed(found["hyperparameters"], wanted["hyperparameters"]))
    apart += [_difference(f"hyperparameter {name}", *each) for name, each in changed.items() if name not in FREE]
    if apart:
        raise UserError(
            f"the checkpoint {path} is of another job: {'; '.join(apart)}. Set back what has changed, or "
            f"{FROM_THE_FIRST_EPOCH}"
        )
    for name, (there, here) in changed.items():
        LOG.info("%s was %s and is %s from here on", name, _text(there), _text(here))


def _changed(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Any, Any]]]:
    for name in wanted:
        if name in found and found[name] != wanted[name]:
            yield name, (found[name], wanted[name])


def _difference(name: str, there: Any, here: Any) -> str:
    if name == "classes":
        if len(there) != len(here):
            there, here = len(there), len(here)
        else:
            number = next(index for index, pair in enumerate(zip(there, here, strict=True)) if pair[0] != pair[1])
            name, there, here = f"class {number}", there[number], here[number]
    return f"{name}: {_text(there)} there, {_text(here)} here"


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
