"""The types of hyperparameters, as dataclass fields that define how to parse and validate strings."""

import re
from collections.abc import Callable, Iterable
from dataclasses import MISSING, dataclass, field, fields
from itertools import pairwise
from typing import Any

NONE = ("none", "null")
"""Strings that SDKs send for Python's None."""
_TRUE, _FALSE = ("1", "true"), ("0", "false")
_ROW = "hyperparameter"  # the key in a field's metadata


@dataclass(frozen=True)
class NoDefault:
    """Marks a field without a default. `source` says in the documentation where its value comes from."""

    source: str


REQUIRED = NoDefault("required")
"""The user must set the value. The algorithm's `check` sets the value of a field with any other NoDefault."""


@dataclass(frozen=True)
class Hyperparameter:
    """The metadata of a hyperparameter's field, in addition to its name and its type.

    `parse` turns a string into a value or raises ValueError; `valid` describes the valid values. `default` is the value
    if the string is missing or empty. If the hyperparameter is accepted without effect, `ignored` is the reason for the
    log ("" logs nothing), and `resolve` drops it. The string below the field, in its class or a base class, documents
    it. `python3 -m local hyperparameters` prints all of this as a table for the documentation.
    """

    parse: Callable[[str], Any]
    valid: str
    default: Any
    ignored: str | None = None

    def as_field(self) -> Any:
        """Return a dataclass field. The type is Any, because the dataclass annotates the type of the value."""
        default = MISSING if isinstance(self.default, NoDefault) else self.default
        return field(default=default, metadata={_ROW: self})


def integer(default: Any, low: int, high: int | None = None) -> Any:
    """Return a field for a whole number from `low` to `high`, inclusive."""

    def parse(text: str) -> int:
        value = float(text)  # the console and some SDK code write 32 as 32.0
        if value != int(value) or value < low or (high is not None and value > high):
            raise ValueError
        return int(value)

    valid = f"a whole number of at least {low}" if high is None else f"a whole number from {low} to {high}"
    return Hyperparameter(parse, valid, default).as_field()


def real(default: Any, without: tuple[int, ...] = ()) -> Any:
    """Return a field for a number from 0 to 1, inclusive except for the bounds in `without`."""

    def parse(text: str) -> float:
        value = float(text)  # a NaN fails the check below
        if not 0 <= value <= 1 or value in without:
            raise ValueError
        return value

    excepted = f", excluding {' and '.join(map(str, without))}" if without else ""
    return Hyperparameter(parse, f"a number from 0 to 1{excepted}", default).as_field()


def choice(default: Any, values: Iterable[Any]) -> Any:
    """Return a field for one of `values`, compared as text, ignoring case."""
    known = {str(value).lower(): value for value in values}

    def parse(text: str) -> Any:
        if text.lower() not in known:
            raise ValueError
        return known[text.lower()]

    return Hyperparameter(parse, "one of " + ", ".join(known), default).as_field()


def flag(default: bool | None) -> Any:
    """Return a field for 0, 1, true or false, ignoring case: the built-in algorithms and the console use both forms."""

    def parse(text: str) -> bool:
        if text.lower() not in _TRUE + _FALSE:
            raise ValueError
        return text.lower() in _TRUE

    return Hyperparameter(parse, "0, 1, true or false", default).as_field()


def steps() -> Any:
    """Return a field for increasing, positive epoch numbers such as `10,20`, or an empty list."""

    def parse(text: str) -> tuple[int, ...]:
        values = _wholes(text)
        if min(values, default=1) < 1 or any(a >= b for a, b in pairwise(values)):
            raise ValueError
        return values

    return Hyperparameter(parse, "increasing epoch numbers separated by commas, such as 10,20", ()).as_field()


def shape(default: tuple[int, int, int]) -> Any:
    """Return a field for an image shape `C,H,W` of 1 or 3 channels and at least 16 x 16 pixels; spaces are allowed."""

    def parse(text: str) -> tuple[int, int, int]:
        channels, height, width = _wholes(text)
        if channels not in (1, 3) or min(height, width) < 16:
            raise ValueError
        return channels, height, width

    valid = "channels,height,width such as 3,224,224, with 1 or 3 channels and sides of at least 16"
    return Hyperparameter(parse, valid, default).as_field()


def _wholes(text: str) -> tuple[int, ...]:
    """Parse comma-separated whole numbers, with or without Python's list or tuple brackets. Raises ValueError."""
    inner = text.strip().removeprefix("[").removesuffix("]").removeprefix("(").removesuffix(")").strip()
    parts = [float(part) for part in inner.removesuffix(",").split(",")] if inner else []
    if any(part != int(part) for part in parts):
        raise ValueError
    return tuple(map(int, parts))


def pattern() -> Any:
    """Return a field for a regular expression. `false` and `none` mean no pattern, as in the built-ins' defaults."""

    def parse(text: str) -> str | None:
        if text.lower() in (*_FALSE, *NONE):
            return None
        try:
            re.compile(text)
        except re.error:
            raise ValueError from None
        return text

    return Hyperparameter(parse, "a regular expression such as ^(conv1_|conv2_).*", None).as_field()


def kv_store() -> Any:
    """Return a field for the type of MXNet's key-value store."""
    return choice(None, ("local", "device", "dist_sync", "dist_async", "dist_device_sync", "dist_sync_device"))


def ignored(why: str = "") -> Any:
    """Return a field for a hyperparameter that accepts any value and has no effect."""
    return Hyperparameter(str, "any text", None, ignored=why).as_field()


def rows(accepted: Iterable[type[Any]]) -> dict[str, Hyperparameter]:
    """Return the hyperparameters of these dataclasses by name."""
    return {item.name: item.metadata[_ROW] for cls in accepted for item in fields(cls)}


def defaults(cls: type[Any]) -> dict[str, Any]:
    """Return the default of every field by name, or None if it has none."""
    return {item.name: None if item.default is MISSING else item.default for item in fields(cls)}
