"""What the container tests share: channels, folders shaped like /opt/ml, and one model trained in a container."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from local import opt_ml, pets, prepare
from tests.images.container import RESTRICTED, Container, give_back

HYPERPARAMETERS: dict[str, object] = {
    "num_layers": 20,
    "image_shape": "3,32,32",
    "resize": 36,
    "mini_batch_size": 8,
    "epochs": 1,
    "learning_rate": 0.05,
}

Job = Callable[..., tuple[Path, dict[str, Path]]]


def channels_of(data: Path, out: Path) -> prepare.Summary:
    official = pets.read(data)
    return prepare.write_channels(official, official.trainval, official.test, out)


def sizes(summary: prepare.Summary) -> dict[str, object]:
    return {"num_classes": len(summary.class_names), "num_training_samples": summary.counts["train"]}


@pytest.fixture(scope="session")
def drawn_channels(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    """Channels of the drawn data set, and the hyperparameters that count them."""
    out = tmp_path_factory.mktemp("channels") / "drawn"
    return out, sizes(channels_of(drawn, out))


@pytest.fixture(scope="session")
def job(image: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Job]:
    """`job(channels, hyperparameters)`: a new folder for /opt/ml that any uid may write, and its read-only mounts."""
    made: list[Path] = []

    def lay_out(channels: Path, hyperparameters: Mapping[str, object]) -> tuple[Path, dict[str, Path]]:
        base = tmp_path_factory.mktemp("opt") / "ml"
        folders = {folder.name: folder for folder in channels.iterdir()}
        opt_ml.lay_out(base, {}, HYPERPARAMETERS | hyperparameters)
        config = {name: {"TrainingInputMode": "File", "ContentType": opt_ml.IMAGES} for name in folders}
        (base / "input" / "config" / "inputdataconfig.json").write_text(json.dumps(config))
        for folder in (base, base / "model", base / "output"):
            folder.chmod(0o777)
        made.append(base)
        data = {f"/opt/ml/input/data/{name}:ro": folder for name, folder in folders.items()}
        return base, {"/opt/ml": base, **data}

    yield lay_out
    for base in made:
        give_back(base, image("image-classification"))


@pytest.fixture(scope="session")
def trained(image: Callable[[str], str], job: Job, drawn_channels: tuple[Path, dict[str, object]]) -> Path:
    """The model folder of a job on drawn pets, trained with a read-only root, a foreign uid and no network."""
    base, mounts = job(*drawn_channels)
    with Container(image("image-classification"), "train", mounts=mounts, options=RESTRICTED) as container:
        assert container.wait(180) == 0, container.log()
        (base / "log").write_text(container.log())
    return base / "model"
