"""What the tests of all layouts do: lay files out, look at a data set, compare what `prepare` makes of two layouts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from local import __main__ as program
from local import algorithms
from local.datasets.dataset import Annotation, DataSet, Edges


def lay_out(root: Path, files: Mapping[str, str | bytes]) -> Path:
    """Files by their paths below `root`, which is returned."""
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def notes(data: DataSet[Any]) -> dict[str, list[str]]:
    """The notes that name something."""
    return {reason: list(files) for reason, files in data.notes.items() if files}


def boxes(data: DataSet[Annotation]) -> dict[str, list[tuple[str, Edges]]]:
    """The boxes of each photo, by its path."""
    return {
        entry.path.relative_to(data.root).as_posix(): [(one.name, one.box) for one in entry.target.objects]
        for entry in data.entries
    }


class Prepared(NamedTuple):
    """For each photo, by its bytes, the channel it is in, and what is true of it as the algorithm reads it back."""

    channels: dict[bytes, str]
    truths: dict[bytes, Any]


def prepare(name: str, data: Path, out: Path, *options: object) -> Prepared:
    """Run `python3 -m local prepare NAME`, which must succeed, and read the channels in `out` back."""
    words = ["prepare", name, "--data", data, "--out", out, *options]
    assert program.main([str(word) for word in words]) == 0
    channels, truths = {}, {}
    for channel in ("train", "validation"):
        for photo, truth in algorithms.get(name).photos(out, channel):
            data_of = photo.read_bytes()
            assert data_of not in truths, f"{photo} is there twice"
            channels[data_of], truths[data_of] = channel, truth
    return Prepared(channels, truths)
