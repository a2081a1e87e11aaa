"""The images that there are, as containers/images.txt lists them. Standard library only, for `build`."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from local import ROOT

_CONTAINERS = ROOT / "containers"
VARIANTS = ("cpu", "gpu")
"""What an image that trains is built for. `inference` is the same in both."""
_GPU = "-gpu"


class Image(NamedTuple):
    """A line of the list: the image's name, its stack and the environment under .venvs that its stack's lock makes."""

    name: str
    stack: str
    environment: str

    @property
    def dockerfile(self) -> Path:
        """What it is built from."""
        return _CONTAINERS / self.stack / "Dockerfile"

    def lock(self, variant: str = "cpu") -> Path:
        """The packages of its environment."""
        return _CONTAINERS / self.stack / ("gpu" if self.suffix(variant) else "") / "requirements.txt"

    def suffix(self, variant: str) -> str:
        """What the variant adds to the image's tag, and to the names of files about it."""
        return _GPU if self.trains and variant == "gpu" else ""

    @property
    def trains(self) -> bool:
        """Whether it has a training program; all of them serve."""
        return self.stack != "inference"


def reference(name: str, environ: Mapping[str, str]) -> str:
    """The reference that `make build/NAME` gives an image; `environ` holds the Makefile's REGISTRY, TAG and VARIANT."""
    suffix = IMAGES[name].suffix(environ.get("VARIANT", "cpu"))
    return f"{environ.get('REGISTRY', 'sagemaker-vision')}/{name}:{environ.get('TAG', 'dev')}{suffix}"


def variables(tag: str) -> str:
    """The variables of `make` that give an image that trains this tag: TAG=dev VARIANT=gpu for dev-gpu."""
    return f"TAG={tag.removesuffix(_GPU)} VARIANT=gpu" if tag.endswith(_GPU) else f"TAG={tag}"


def _read() -> dict[str, Image]:
    lines = (_CONTAINERS / "images.txt").read_text(encoding="utf-8").splitlines()
    images = (Image(*line.split()) for line in lines if line and not line.startswith("#"))
    return {image.name: image for image in images}


IMAGES = _read()
"""By name, in the order of the list."""
TRAINING = tuple(image.name for image in IMAGES.values() if image.trains)
"""The names of those that train, which are the algorithms' names."""
