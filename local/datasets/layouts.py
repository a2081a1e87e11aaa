"""Which layout a data set has, and reading it: `prepare`, `demo` and `local-mode` take them all."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from local.datasets import class_folders, pets
from local.datasets.dataset import DataSet
from local.errors import UserError


class Layout(NamedTuple):
    """How a layout is recognised, in words or None, and how it is read."""

    recognise: Callable[[Path], str | None]
    read: Callable[[Path], DataSet[Any]]


LAYOUTS = {
    "pets": Layout(pets.recognise, pets.read),
    "class-folders": Layout(class_folders.recognise, class_folders.read),
}
"""By the name that --layout takes; what many folders look like comes last."""
_KNOWN = (
    "give a folder of class folders, such as cat/1.jpg and dog/2.jpg, or one with images/ and annotations/ as the "
    "Oxford-IIIT Pet data set has them"
)


def add_argument(parser: argparse.ArgumentParser) -> None:
    """The option --layout."""
    parser.add_argument("--layout", choices=LAYOUTS, help="of --data (default: whichever is recognised)")


def find(root: Path, layout: str | None = None) -> tuple[str, str]:
    """Return the name of the layout of `root`, the one given or the one recognised, and how it is known.

    Raises UserError when there is none.
    """
    if not root.is_dir():
        raise UserError(f"{root} is not a folder: give the one that holds the data set")
    if layout is not None:
        return layout, "--layout says so"
    for name, one in LAYOUTS.items():
        if how := one.recognise(root):
            return name, how
    raise UserError(f"{root} has no layout that is known: {_KNOWN}")


def read(root: Path, layout: str | None = None) -> DataSet[Any]:
    """Read the data set at `root`. Raises UserError as `find` does, and what the layout raises."""
    return LAYOUTS[find(root, layout)[0]].read(root)


def described(root: Path, layout: str | None = None) -> str:
    """Return a line that says which layout `root` has and how that is known. Raises UserError as `find` does."""
    return "{} is read as {}: {}".format(root, *find(root, layout))
