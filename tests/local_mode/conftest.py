"""Fixtures for local mode: channels, and a home folder for the SDKs. They remove everything afterwards."""

import json
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from local.commands import prepare
from local.datasets.dataset import random_split
from local.datasets.drawn import draw
from local.datasets.layouts.pets import reader as official
from local.sagemaker import docker as engine
from local.sagemaker import programs
from tests.environments import REPOSITORY, use_home
from tests.pages import snippet
from tests.wheels import write_tiny

BREEDS = 3
SCRIPTS = REPOSITORY / "tests" / "fixtures" / "scripts"
# The first line of each script. It needs the package that requirements.txt installs.
FIRST_LINE = "import os, tiny; print(f'{tiny.NAME}, works in {os.getcwd()}.', flush=True)\n"


@pytest.fixture(scope="session")
def uri(image: Callable[[str], str]) -> str:
    """The reference of the image-classification image."""
    return image("image-classification")


@pytest.fixture(scope="session")
def drawn_pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn data set of three breeds, with enough photos for a batch of 32."""
    root = tmp_path_factory.mktemp("drawn") / "pets"
    draw.data_set(root, trainval=12, test=4, breeds=draw.BREEDS[:BREEDS])
    return root


@pytest.fixture(scope="session")
def small_channels(drawn_pets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the channels of the drawn pets."""
    return _channels(drawn_pets, tmp_path_factory.mktemp("small") / "channels")


@pytest.fixture(scope="session")
def channels(drawn_pets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the channels of the real photos if PET_DATA is set, otherwise of the drawn ones."""
    return _channels(_data(drawn_pets), tmp_path_factory.mktemp("notebook") / "channels")


@pytest.fixture(scope="session")
def boxed_channels(drawn_pets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with channels of cats and dogs with head boxes: about 24 photos to train on and 8 to validate on.

    The photos are real if PET_DATA is set, otherwise drawn.
    """
    pets = official.detection(_data(drawn_pets))
    few = random.Random(0).sample(pets.entries, 32)
    train, validation = random_split(few, 0.75, seed=0)
    out = tmp_path_factory.mktemp("boxed") / "channels"
    summary = prepare.write_channels(pets, train, validation, out, name="object-detection")
    assert summary.class_names == ("cat", "dog")
    return out


@pytest.fixture(scope="session")
def masked_channels(drawn_pets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with channels of 16 photos with trimaps to train on and 2 to validate on. Pixel values are 1 to 3.

    The photos are real if PET_DATA is set, otherwise drawn.
    """
    pets = official.segmentation(_data(drawn_pets))
    few = random.Random(0).sample(pets.entries, 18)
    train, validation = few[:16], few[16:]
    out = tmp_path_factory.mktemp("masked") / "channels"
    summary = prepare.write_channels(pets, train, validation, out, name="semantic-segmentation")
    assert len(summary.class_names) == 4
    return out


@pytest.fixture(scope="session")
def odd_channels(masked_channels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the same channels, resized to 300 x 401 pixels, with every second photo in grey."""
    out = tmp_path_factory.mktemp("odd") / "channels"
    shutil.copytree(masked_channels, out)
    for channel in ("train", "validation"):
        for index, photo in enumerate(sorted((out / channel).iterdir())):
            mask = out / f"{channel}_annotation" / f"{photo.stem}.png"
            with Image.open(photo) as image:
                image.resize((300, 401)).convert("L" if index % 2 else "RGB").save(photo)
            with Image.open(mask) as image:
                image.resize((300, 401), Image.Resampling.NEAREST).save(mask)
    return out


@pytest.fixture
def notebook_folder(channels: Path, tmp_path: Path) -> Path:
    """The folder that a classification notebook runs in: channels/, and a photo.jpg that was not trained on."""
    return _notebook_folder(channels, "image-classification", tmp_path)


@pytest.fixture
def detection_folder(boxed_channels: Path, tmp_path: Path) -> Path:
    """The folder that a detection notebook runs in: channels/, and a photo.jpg that was not trained on."""
    return _notebook_folder(boxed_channels, "object-detection", tmp_path)


@pytest.fixture
def segmentation_folder(masked_channels: Path, tmp_path: Path) -> Path:
    """The folder that a segmentation notebook runs in: channels/, and a photo.jpg that was not trained on."""
    return _notebook_folder(masked_channels, "semantic-segmentation", tmp_path)


@pytest.fixture
def odd_folder(odd_channels: Path, tmp_path: Path) -> Path:
    """The same as `segmentation_folder`, with photos of 300 x 401 pixels."""
    return _notebook_folder(odd_channels, "semantic-segmentation", tmp_path)


@pytest.fixture(scope="session")
def script_uri(image: Callable[[str], str]) -> str:
    """The reference of the TensorFlow image."""
    return image("image-classification-tensorflow")


@pytest.fixture
def script_folder(drawn_pets: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Return `script_folder(name)`, which creates the folder that a notebook runs in.

    It holds source/train.py, class folders in data/, and image.json.
    """

    def create(name: str) -> Path:
        folder = tmp_path / "notebook"
        source = shutil.copytree(SCRIPTS / name, folder / "source")
        (source / "requirements.txt").write_text(write_tiny(source))
        script = (source / "train.py").read_text()
        (source / "train.py").write_text(FIRST_LINE + script)
        for number, photo in enumerate(sorted((drawn_pets / "images").glob("*.jpg"))):
            # In this data set, the names of cats start with a capital letter.
            species = "cat" if photo.name[0].isupper() else "dog"
            target = folder / "data" / ("validation" if number % 4 == 0 else "train") / species / photo.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(photo, target)
        image = np.random.default_rng(0).random((1, 128, 128, 3)).round(4)
        (folder / "image.json").write_text(json.dumps(image.tolist()))
        return folder

    return create


@pytest.fixture
def laptop(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine without any setup for AWS or SageMaker. Yield the folder with the SDKs' temporary files.

    Only the serving port differs from the default: it is a free one. The files, containers and network that the SDKs
    leave behind are removed afterwards, even if the test fails.
    """
    home = tmp_path / "home"
    (home / ".sagemaker").mkdir(parents=True)
    (home / ".sagemaker" / "config.yaml").write_text(f"local:\n  serving_port: {programs.free_port()}\n")
    monkeypatch.setenv("DOCKER_CONFIG", os.environ.get("DOCKER_CONFIG", str(Path.home() / ".docker")))
    use_home(home, monkeypatch, None)
    with engine.workspace(tmp_path / "sagemaker", uri) as root:
        monkeypatch.setenv("TMPDIR", str(root))
        monkeypatch.setattr(tempfile, "tempdir", None)  # for tests that run an SDK in this process
        yield root


@pytest.fixture
def machine(laptop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same machine, set up as docs/switching.md says, without AWS."""
    configure(tmp_path / "home")
    use_home(tmp_path / "home", monkeypatch, "none")
    return laptop


def configure(home: Path) -> None:
    """Write the two configuration files of the SDKs that docs/switching.md shows."""
    local = home / ".sagemaker" / "config.yaml"
    local.write_text(local.read_text().replace("local:\n", snippet("local-config")), encoding="utf-8")
    defaults = home / ".config" / "sagemaker" / "config.yaml"
    defaults.parent.mkdir(parents=True)
    defaults.write_text(snippet("defaults-config"), encoding="utf-8")


def _notebook_folder(channels: Path, name: str, parent: Path) -> Path:
    folder = parent / "notebook"
    folder.mkdir()
    (folder / "channels").symlink_to(channels)
    photo, _ = prepare.photos(channels, "validation", name)[0]
    shutil.copyfile(photo, folder / "photo.jpg")
    return folder


def _data(drawn_pets: Path) -> Path:
    return Path(os.environ["PET_DATA"]) if os.environ.get("PET_DATA") else drawn_pets


def _channels(data: Path, out: Path) -> Path:
    pets = official.classification(data)
    summary = prepare.write_channels(pets, pets.part("train"), pets.part("validation"), out)
    assert len(summary.class_names) == BREEDS, summary.class_names
    return out
