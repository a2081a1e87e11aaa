"""The kinds of hyperparameters, as fields of an algorithm's dataclass: how a text becomes a value, what is valid."""

import re
from collections.abc import Callable, Iterable
from dataclasses import MISSING, dataclass, field, fields
from itertools import pairwise
from typing import Any

NONE = ("none", "null")
"""What SDKs make of Python's None."""
_TRUE, _FALSE = ("1", "true"), ("0", "false")
_ROW = "hyperparameter"  # the key in a field's metadata


@dataclass(frozen=True)
class NoDefault:
    """In place of a default: a value must be given. `source` tells the documentation where it comes from."""

    source: str


REQUIRED = NoDefault("required")
"""The user must set it. What has any other NoDefault is set by the algorithm's `check`."""


@dataclass(frozen=True)
class Hyperparameter:
    """What a field knows of its hyperparameter, besides its name and its type.

    `parse` turns the text into a value or raises ValueError; `valid` says in words what it takes. `default` is the
    value when the text is missing or empty. One that is accepted without effect has the reason in `ignored`, for the
    log, or "" for no line; `resolve` drops it. What it does says the string below the field, there or in a base class;
    `python3 -m local hyperparameters` prints the documentation's table of it all.
    """

    parse: Callable[[str], Any]
    valid: str
    default: Any
    ignored: str | None = None

    def as_field(self) -> Any:
        """Return a dataclass field of it; Any, because the type of its value is the annotation in the dataclass."""
        default = MISSING if isinstance(self.default, NoDefault) else self.default
        return field(default=default, metadata={_ROW: self})


def integer(default: Any, low: int, high: int | None = None) -> Any:
    """A whole number from `low` to `high`, both included."""

    def parse(text: str) -> int:
        value = float(text)  # the console and some SDK code write 32 as 32.0
        if value != int(value) or value < low or (high is not None and value > high):
            raise ValueError
        return int(value)

    valid = f"a whole number of at least {low}" if high is None else f"a whole number from {low} to {high}"
    return Hyperparameter(parse, valid, default).as_field()


def real(default: Any, without: tuple[int, ...] = ()) -> Any:
    """A number from 0 to 1, both included unless they are in `without`."""

    def parse(text: str) -> float:
        value = float(text)  # a NaN is in no range
        if not 0 <= value <= 1 or value in without:
            raise ValueError
        return value

    excepted = f", without {' and '.join(map(str, without))}" if without else ""
    return Hyperparameter(parse, f"a number from 0 to 1{excepted}", default).as_field()


def choice(default: Any, values: Iterable[Any]) -> Any:
    """One of `values`, compared as text without regard to case."""
    known = {str(value).lower(): value for value in values}

    def parse(text: str) -> Any:
        if text.lower() not in known:
            raise ValueError
        return known[text.lower()]

    return Hyperparameter(parse, "one of " + ", ".join(known), default).as_field()


def flag(default: bool | None) -> Any:
    """0, 1, true or false in any case: the built-ins mix both forms, and consoles rewrite one as the other."""

    def parse(text: str) -> bool:
        if text.lower() not in _TRUE + _FALSE:
            raise ValueError
        return text.lower() in _TRUE

    return Hyperparameter(parse, "0, 1, true or false", default).as_field()


def steps() -> Any:
    """Epochs written as `10,20`: whole numbers above zero, rising; an empty list is none."""

    def parse(text: str) -> tuple[int, ...]:
        values = _wholes(text)
        if min(values, default=1) < 1 or any(a >= b for a, b in pairwise(values)):
            raise ValueError
        return values

    return Hyperparameter(parse, "rising epoch numbers separated by commas, such as 10,20", ()).as_field()


def shape(default: tuple[int, int, int]) -> Any:
    """An image shape written as `C,H,W`, spaces allowed: 1 or 3 channels, height and width of at least 16 pixels."""

    def parse(text: str) -> tuple[int, int, int]:
        channels, height, width = _wholes(text)
        if channels not in (1, 3) or min(height, width) < 16:
            raise ValueError
        return channels, height, width

    valid = "channels,height,width such as 3,224,224, with 1 or 3 channels and sides of at least 16"
    return Hyperparameter(parse, valid, default).as_field()


def _wholes(text: str) -> tuple[int, ...]:
    """Return whole numbers separated by commas, also as Python writes a list or a tuple. Raises ValueError."""
    inner = text.strip().removeprefix("[").removesuffix("]").removeprefix("(").removesuffix(")").strip()
    parts = [float(part) for part in inner.removesuffix(",").split(",")] if inner else []
    if any(part != int(part) for part in parts):
        raise ValueError
    return tuple(map(int, parts))


def pattern() -> Any:
    """A regular expression; `false` and `none` mean none, as the built-ins' shipped defaults write it."""

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
    """MXNet's ways of sharing weights, by all of its names."""
    return choice(None, ("local", "device", "dist_sync", "dist_async", "dist_device_sync", "dist_sync_device"))


def ignored(why: str = "") -> Any:
    """One that may have any value and has no effect here."""
    return Hyperparameter(str, "any text", None, ignored=why).as_field()


def rows(accepted: Iterable[type[Any]]) -> dict[str, Hyperparameter]:
    """Return the fields of these dataclasses by name."""
    return {each.name: each.metadata[_ROW] for cls in accepted for each in fields(cls)}


def defaults(cls: type[Any]) -> dict[str, Any]:
    """Return the default of every field by name, None where there is none."""
    return {each.name: None if each.default is MISSING else each.default for each in fields(cls)}
