"""Helpers for the tests of data set layouts: write files, read a data set, and run `prepare`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from local import __main__ as program
from local import algorithms
from local.datasets.dataset import Annotation, DataSet, Edges


def write_files(root: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write files by their paths below `root`, and return `root`."""
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def notes(data: DataSet[Any]) -> dict[str, list[str]]:
    """Return the notes that list at least one file, by reason."""
    return {reason: list(files) for reason, files in data.notes.items() if files}


def boxes(data: DataSet[Annotation]) -> dict[str, list[tuple[str, Edges]]]:
    """Return the boxes of each photo by the photo's path."""
    return {
        entry.path.relative_to(data.root).as_posix(): [
            (labelled_box.name, labelled_box.box) for labelled_box in entry.target.objects
        ]
        for entry in data.entries
    }


class Prepared(NamedTuple):
    """What `prepare` wrote: the channel and the ground truth of each photo, by the photo's bytes."""

    channels: dict[bytes, str]
    truths: dict[bytes, Any]


def prepare(name: str, data: Path, out: Path, *options: object) -> Prepared:
    """Run `python3 -m local prepare NAME`, which must succeed, and read the channels in `out` back."""
    arguments = ["prepare", name, "--data", data, "--out", out, *options]
    assert program.main([str(argument) for argument in arguments]) == 0
    channels, truths = {}, {}
    for channel in ("train", "validation"):
        for photo, truth in algorithms.get(name).photos(out, channel):
            content = photo.read_bytes()
            assert content not in truths, f"{photo} is in the channels twice"
            channels[content], truths[content] = channel, truth
    return Prepared(channels, truths)
