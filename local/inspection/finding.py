"""A finding, and the words that several of them share."""

from collections.abc import Sequence
from typing import NamedTuple

NAMED = 10


class Finding(NamedTuple):
    """Something that will go wrong. `ends`: the job ends with it; `names` are files or messages that belong to it."""

    ends: bool
    words: str
    names: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """What begins its line."""
        return "The job ends" if self.ends else "Warning"


def ended(text: str) -> str:
    """A message as a sentence, with a full stop where it ends in nothing else."""
    return text if text.endswith((".", "?", "!")) else f"{text}."


def some(names: Sequence[str]) -> str:
    """The first ten names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def percent(share: float) -> str:
    """`40 %`; below 10 with a digit more."""
    value = 100 * share
    return f"{value:.0f} %" if value >= 10 or value == 0 else f"{value:.2g} %"
