"""The list of images, read from containers/images.txt. Uses only the standard library, because `build` imports it."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from local import ROOT

_CONTAINERS = ROOT / "containers"
VARIANTS = ("cpu", "gpu")
"""The variants of a training image. The `inference` image is the same for both."""
_GPU = "-gpu"


class Image(NamedTuple):
    """An image: its name, its stack, and the environment in .venvs that is made from the stack's lock file."""

    name: str
    stack: str
    environment: str

    @property
    def dockerfile(self) -> Path:
        """The Dockerfile of its stack."""
        return _CONTAINERS / self.stack / "Dockerfile"

    def lock(self, variant: str = "cpu") -> Path:
        """Return the path of its lock file."""
        return _CONTAINERS / self.stack / ("gpu" if self.suffix(variant) else "") / "requirements.txt"

    def suffix(self, variant: str) -> str:
        """Return the suffix of the variant in the image's tag and in file names."""
        return _GPU if self.trains and variant == "gpu" else ""

    @property
    def trains(self) -> bool:
        """Whether the image can train; all images can serve."""
        return self.stack != "inference"


def reference(name: str, environ: Mapping[str, str]) -> str:
    """Return the image's reference from `make build/NAME`; `environ` has the Makefile's REGISTRY, TAG and VARIANT."""
    suffix = IMAGES[name].suffix(environ.get("VARIANT", "cpu"))
    return f"{environ.get('REGISTRY', 'sagemaker-vision')}/{name}:{environ.get('TAG', 'dev')}{suffix}"


def variables(tag: str) -> str:
    """Return the `make` variables that produce a training image's tag: TAG=dev VARIANT=gpu for dev-gpu."""
    return f"TAG={tag.removesuffix(_GPU)} VARIANT=gpu" if tag.endswith(_GPU) else f"TAG={tag}"


def _read() -> dict[str, Image]:
    lines = (_CONTAINERS / "images.txt").read_text(encoding="utf-8").splitlines()
    images = (Image(*line.split()) for line in lines if line and not line.startswith("#"))
    return {image.name: image for image in images}


IMAGES = _read()
"""All images by name, in the order of the list."""
TRAINING = tuple(image.name for image in IMAGES.values() if image.trains)
"""The names of the training images, which are also the names of the algorithms."""
