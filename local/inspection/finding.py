"""A finding, and helpers for its text."""

from collections.abc import Sequence
from typing import NamedTuple

MAX_NAMES = 10


class Finding(NamedTuple):
    """A problem. `fatal`: the job fails because of it; `details` lists the files or all of the error messages."""

    fatal: bool
    message: str
    details: tuple[str, ...] = ()

    @property
    def severity(self) -> str:
        """The first word of its line."""
        return "Error" if self.fatal else "Warning"


def with_full_stop(text: str) -> str:
    """Return the text with a full stop, unless it already ends with punctuation."""
    return text if text.endswith((".", "?", "!")) else f"{text}."


def shortened(names: Sequence[str]) -> str:
    """Return the first ten names, and how many more there are."""
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more


def percent(fraction: float) -> str:
    """Format a fraction as `40 %`, or with two significant digits below 10 %."""
    value = 100 * fraction
    return f"{value:.0f} %" if value >= 10 or value == 0 else f"{value:.2g} %"
