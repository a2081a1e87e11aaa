"""The images that there are, as containers/images.txt lists them. Standard library only, for `build`."""

from pathlib import Path
from typing import NamedTuple

from local import ROOT

_CONTAINERS = ROOT / "containers"


class Image(NamedTuple):
    """A line of the list: the image's name, its stack and the environment under .venvs that its stack's lock makes."""

    name: str
    stack: str
    environment: str

    @property
    def dockerfile(self) -> Path:
        """What it is built from."""
        return _CONTAINERS / self.stack / "Dockerfile"

    @property
    def lock(self) -> Path:
        """The packages of its environment."""
        return _CONTAINERS / self.stack / "requirements.txt"

    @property
    def trains(self) -> bool:
        """Whether it has a training program; all of them serve."""
        return self.stack != "inference"


def _read() -> dict[str, Image]:
    lines = (_CONTAINERS / "images.txt").read_text(encoding="utf-8").splitlines()
    images = (Image(*line.split()) for line in lines if line and not line.startswith("#"))
    return {image.name: image for image in images}


IMAGES = _read()
"""By name, in the order of the list."""
TRAINING = tuple(image.name for image in IMAGES.values() if image.trains)
"""The names of those that train, which are the algorithms' names."""
