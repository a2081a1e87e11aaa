"""Hyperparameters: the fields of an algorithm's dataclass, read as SageMaker writes them, and checked."""

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

from train.errors import UserError
from train.job import configuration
from train.log import LOG

# Keys that reach the container without the user having asked for them (docs/hyperparameters.md).
_PLATFORM_PREFIXES = ("_", "sagemaker_")
_PLATFORM_NAMES = ("default_user_module_name",)

_TRUE, _FALSE = ("1", "true"), ("0", "false")
_NONE = ("none", "null")  # what SDKs make of Python's None
_ROW = "hyperparameter"  # the key in a field's metadata


@dataclass(frozen=True)
class NoDefault:
    """In place of a default: a value must be given. `source` tells the documentation where it comes from."""

    source: str


REQUIRED = NoDefault("required")
"""The user must set it. What has any other NoDefault is set by the algorithm's `check`."""


@dataclass(frozen=True)
class Hyperparameter:
    """What a field knows of its hyperparameter: how a text becomes its value, and what the documentation says.

    `parse` turns the text into a value or raises ValueError; `valid` says in words what it takes. `default` is the
    value when the text is missing or empty. `doc` says what it does; the field's own docstring takes precedence. One
    that is accepted without effect has the reason in `ignored`, for the log, or "" for no line; `resolve` drops it.
    """

    parse: Callable[[str], Any]
    valid: str
    default: Any
    doc: str = ""
    ignored: str | None = None

    def as_field(self) -> Any:
        """Return a dataclass field of it; Any, because the type of its value is the annotation in the dataclass."""
        default = MISSING if isinstance(self.default, NoDefault) else self.default
        return field(default=default, metadata={_ROW: self})


def integer(default: Any, low: int, high: int | None = None, doc: str = "") -> Any:
    """A whole number from `low` to `high`, both included."""

    def parse(text: str) -> int:
        value = float(text)  # the console and some SDK code write 32 as 32.0
        if value != int(value) or value < low or (high is not None and value > high):
            raise ValueError
        return int(value)

    valid = f"a whole number of at least {low}" if high is None else f"a whole number from {low} to {high}"
    return Hyperparameter(parse, valid, default, doc).as_field()


def real(default: Any, without: tuple[int, ...] = (), doc: str = "") -> Any:
    """A number from 0 to 1, both included unless they are in `without`."""

    def parse(text: str) -> float:
        value = float(text)  # a NaN is in no range
        if not 0 <= value <= 1 or value in without:
            raise ValueError
        return value

    excepted = f", without {' and '.join(map(str, without))}" if without else ""
    return Hyperparameter(parse, f"a number from 0 to 1{excepted}", default, doc).as_field()


def choice(default: Any, values: Iterable[Any], doc: str = "") -> Any:
    """One of `values`, compared as text without regard to case."""
    known = {str(value).lower(): value for value in values}

    def parse(text: str) -> Any:
        if text.lower() not in known:
            raise ValueError
        return known[text.lower()]

    return Hyperparameter(parse, "one of " + ", ".join(known), default, doc).as_field()


def flag(default: bool | None, doc: str = "") -> Any:
    """0, 1, true or false in any case: the built-ins mix both forms, and consoles rewrite one as the other."""

    def parse(text: str) -> bool:
        if text.lower() not in _TRUE + _FALSE:
            raise ValueError
        return text.lower() in _TRUE

    return Hyperparameter(parse, "0, 1, true or false", default, doc).as_field()


def steps(doc: str = "") -> Any:
    """Epochs written as `10,20`: whole numbers above zero, rising; an empty list is none."""

    def parse(text: str) -> tuple[int, ...]:
        values = _wholes(text)
        if min(values, default=1) < 1 or any(a >= b for a, b in pairwise(values)):
            raise ValueError
        return values

    return Hyperparameter(parse, "rising epoch numbers separated by commas, such as 10,20", (), doc).as_field()


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
        if text.lower() in (*_FALSE, *_NONE):
            return None
        try:
            re.compile(text)
        except re.error:
            raise ValueError from None
        return text

    return Hyperparameter(parse, "a regular expression such as ^(conv1_|conv2_).*", None).as_field()


def ignored(why: str = "", doc: str = "") -> Any:
    """One that may have any value and has no effect here."""
    return Hyperparameter(str, "any text", None, doc, ignored=why).as_field()


def rows(cls: type[Any]) -> dict[str, Hyperparameter]:
    """Return what an algorithm accepts, by name: the fields of its dataclass, then its OTHER_NAMES if it has any."""
    named = {each.name: each for each in fields(cls)} | getattr(cls, "OTHER_NAMES", {})
    return {name: each.metadata[_ROW] for name, each in named.items()}


def defaults(cls: type[Any]) -> dict[str, Any]:
    """Return the default of every field by name, None where there is none."""
    return {each.name: None if each.default is MISSING else each.default for each in fields(cls)}


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


def resolve(raw: Mapping[str, str], cls: type[Any]) -> dict[str, Any]:
    """Return what `raw` sets, checked, by name: of an algorithm's fields and of its OTHER_NAMES that are not ignored.

    The constructor of `cls` has the defaults of the others. Raises UserError that lists all that is wrong at once:
    unknown names with the nearest valid one, values out of range, required ones that are missing.
    """
    known, texts = rows(cls), given(raw)
    free = [name for name in known if name not in texts]
    wrong = [_unknown(name, list(known), free) for name in texts if name not in known]
    values: dict[str, Any] = {}
    for name, row in known.items():
        try:
            if name in texts:
                values[name] = row.parse(texts[name])
        except (ValueError, OverflowError):
            if texts[name].lower() not in _NONE:
                wrong.append(f"hyperparameter {name}={texts[name]!r} is not valid: it takes {row.valid}")
                continue
        if name not in values and row.default is REQUIRED:
            wrong.append(f"hyperparameter {name} is required and not set: it takes {row.valid}")
    if wrong:
        raise UserError("; ".join(wrong))
    for name in [name for name in values if known[name].ignored is not None]:
        del values[name]
        if known[name].ignored:
            LOG.warning("%s=%s is ignored%s", name, texts[name], known[name].ignored)
    return values


def _unknown(name: str, valid: Sequence[str], free: Sequence[str]) -> str:
    """Say that a name is not known; `free` are the `valid` ones that are not set, of which alone one is suggested."""
    near = difflib.get_close_matches(name.lower().replace("-", "_"), valid, n=1, cutoff=0.5)
    if near and near[0] in free:
        return f"hyperparameter {name!r} is not known: did you mean {near[0]}?"
    return f"hyperparameter {name!r} is not known: remove it; valid and not set are {', '.join(sorted(free))}"
