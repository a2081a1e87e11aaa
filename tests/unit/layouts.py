"""What `prepare` makes of a data set, by the bytes of its photos: two layouts of the same photos can be compared."""

from pathlib import Path
from typing import Any, NamedTuple

from local import __main__ as program
from local import algorithms


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
