"""Hyperparameters: read as SageMaker writes them, checked against an algorithm's table, told plainly when wrong."""

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from train.errors import UserError
from train.job import configuration
from train.log import LOG

REQUIRED = object()

# Keys that reach the container without the user having asked for them (docs/hyperparameters.md).
_PLATFORM_PREFIXES = ("_", "sagemaker_")
_PLATFORM_NAMES = ("default_user_module_name",)

_TRUE, _FALSE = ("1", "true"), ("0", "false")
_NONE = ("none", "null")  # what SDKs make of Python's None


@dataclass(frozen=True)
class Hyperparameter:
    """One row of an algorithm's table.

    `parse` turns the text into a value or raises ValueError; `valid` says in words what it takes. `default` is
    the value when the text is missing or empty, or REQUIRED. One that is taken and means nothing here has in `ignored`
    why, for the log, or "" for no line; `resolve` leaves it out.
    """

    name: str
    parse: Callable[[str], Any]
    valid: str
    default: Any
    ignored: str | None = None


def integer(name: str, default: Any, low: int, high: int | None = None) -> Hyperparameter:
    """A whole number from `low` to `high`; both ends belong."""

    def parse(text: str) -> int:
        value = float(text)  # the console and some SDK code write 32 as 32.0
        if value != int(value) or value < low or (high is not None and value > high):
            raise ValueError
        return int(value)

    return Hyperparameter(
        name,
        parse,
        f"a whole number of at least {low}" if high is None else f"a whole number from {low} to {high}",
        default,
    )


def real(name: str, default: Any, without: tuple[int, ...] = ()) -> Hyperparameter:
    """A number from 0 to 1; both ends belong, but for those in `without`."""

    def parse(text: str) -> float:
        value = float(text)  # a NaN is in no range
        if not 0 <= value <= 1 or value in without:
            raise ValueError
        return value

    excepted = f", without {' and '.join(map(str, without))}" if without else ""
    return Hyperparameter(name, parse, f"a number from 0 to 1{excepted}", default)


def choice(name: str, default: Any, values: Iterable[Any]) -> Hyperparameter:
    """One of `values`, compared as text without regard to case."""
    known = {str(value).lower(): value for value in values}

    def parse(text: str) -> Any:
        if text.lower() not in known:
            raise ValueError
        return known[text.lower()]

    return Hyperparameter(name, parse, "one of " + ", ".join(known), default)


def early_stopping(min_epochs: int, patience: int) -> tuple[Hyperparameter, ...]:
    """The four of train/early_stopping.py, with an algorithm's own defaults."""
    return (
        flag("early_stopping", False),
        integer("early_stopping_min_epochs", min_epochs, 0),
        integer("early_stopping_patience", patience, 0),
        real("early_stopping_tolerance", 0.0),
    )


def kv_store() -> Hyperparameter:
    """MXNet's ways of sharing weights, by all of its names."""
    names = ("local", "device", "dist_sync", "dist_async", "dist_device_sync", "dist_sync_device")
    return choice("kv_store", None, names)


def ignored(name: str, why: str = "") -> Hyperparameter:
    """One that may have any value and means nothing here."""
    return Hyperparameter(name, str, "any text", None, ignored=why)


def flag(name: str, default: bool | None) -> Hyperparameter:
    """0, 1, true or false in any case: the built-ins mix both forms, and consoles rewrite one as the other."""

    def parse(text: str) -> bool:
        if text.lower() not in _TRUE + _FALSE:
            raise ValueError
        return text.lower() in _TRUE

    return Hyperparameter(name, parse, "0, 1, true or false", default)


def steps(name: str) -> Hyperparameter:
    """Epochs written as `10,20`: whole numbers above zero, rising; an empty list is none."""

    def parse(text: str) -> tuple[int, ...]:
        values = _wholes(text)
        if min(values, default=1) < 1 or any(a >= b for a, b in pairwise(values)):
            raise ValueError
        return values

    return Hyperparameter(name, parse, "rising epoch numbers separated by commas, such as 10,20", ())


def shape(name: str, default: Any) -> Hyperparameter:
    """An image shape written as `C,H,W`, spaces allowed: 1 or 3 channels, height and width of at least 16 pixels."""

    def parse(text: str) -> tuple[int, int, int]:
        channels, height, width = _wholes(text)
        if channels not in (1, 3) or min(height, width) < 16:
            raise ValueError
        return channels, height, width

    return Hyperparameter(
        name, parse, "channels,height,width such as 3,224,224, with 1 or 3 channels and sides of at least 16", default
    )


def _wholes(text: str) -> tuple[int, ...]:
    """Return whole numbers separated by commas, also as Python writes a list or a tuple. Raises ValueError."""
    inner = text.strip().removeprefix("[").removesuffix("]").removeprefix("(").removesuffix(")").strip()
    parts = [float(part) for part in inner.removesuffix(",").split(",")] if inner else []
    if any(part != int(part) for part in parts):
        raise ValueError
    return tuple(map(int, parts))


def pattern(name: str) -> Hyperparameter:
    """A regular expression; `false` and `none` mean none, as the built-ins' shipped defaults write it."""

    def parse(text: str) -> str | None:
        if text.lower() in (*_FALSE, *_NONE):
            return None
        try:
            re.compile(text)
        except re.error:
            raise ValueError from None
        return text

    return Hyperparameter(name, parse, "a regular expression such as ^(conv1_|conv2_).*", None)


def warn_of_late_steps(values: Mapping[str, Any]) -> None:
    """Warn of a learning rate that is to fall after the last epoch."""
    late = [str(step) for step in values["lr_scheduler_step"] if step >= values["epochs"]]
    if late:
        LOG.warning(
            "lr_scheduler_step=%s is not below epochs=%d: the learning rate does not fall there",
            *(",".join(late), values["epochs"]),
        )


def read(path: Path) -> dict[str, str]:
    """Return hyperparameters.json as a map of text to text; a missing file is an empty map.

    SDK framework estimators encode each value as JSON once more, so a value that decodes to a JSON string is that
    string; any other value is taken as it stands. Raises UserError for a file that is no JSON object.
    """
    return {name: _text(value) for name, value in configuration.read(path).items()} if path.exists() else {}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        return "" if value is None else json.dumps(value)
    try:
        decoded = json.loads(value)
    except ValueError:
        return value
    return decoded if isinstance(decoded, str) else value


def given(raw: Mapping[str, str]) -> dict[str, str]:
    """Return what the user set: without the platform's own keys and without empty values, which mean "not set"."""
    return {
        name: value.strip()
        for name, value in raw.items()
        if value.strip() and not name.startswith(_PLATFORM_PREFIXES) and name not in _PLATFORM_NAMES
    }


def resolve(raw: Mapping[str, str], table: Iterable[Hyperparameter]) -> dict[str, Any]:
    """Return every hyperparameter of the table with its checked value.

    Raises UserError that lists all that is wrong at once: unknown names with the nearest valid one, values out of
    range, required ones that are missing.
    """
    rows = {row.name: row for row in table}
    texts = given(raw)
    free = [name for name in rows if name not in texts]
    wrong = [_unknown(name, list(rows), free) for name in texts if name not in rows]
    values: dict[str, Any] = {}
    for name, row in rows.items():
        try:
            values[name] = _value(row, texts.get(name))
        except ValueError as error:
            wrong.append(f"hyperparameter {name}{error}: it takes {row.valid}")
    if wrong:
        raise UserError("; ".join(wrong))
    for name, row in rows.items():
        if row.ignored is not None and values.pop(name) is not None and row.ignored:
            LOG.warning("%s=%s is ignored%s", name, texts[name], row.ignored)
    return values


def _value(row: Hyperparameter, text: str | None) -> Any:
    """Return a row's value; raises ValueError with what is wrong, in words that follow its name."""
    if text is not None:
        try:
            return row.parse(text)
        except (ValueError, OverflowError):
            if text.lower() not in _NONE:
                raise ValueError(f"={text!r} is not valid") from None
    if row.default is REQUIRED:
        raise ValueError(" is required and not set")
    return row.default


def _unknown(name: str, valid: Sequence[str], free: Sequence[str]) -> str:
    """Say that a name is not known; `free` are the `valid` ones that are not set, of which alone one is suggested."""
    near = difflib.get_close_matches(name.lower().replace("-", "_"), valid, n=1, cutoff=0.5)
    if near and near[0] in free:
        return f"hyperparameter {name!r} is not known: did you mean {near[0]}?"
    return f"hyperparameter {name!r} is not known: remove it; valid and not set are {', '.join(sorted(free))}"
