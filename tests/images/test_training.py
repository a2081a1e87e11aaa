"""Training in real containers, as SageMaker starts them."""

import json
import time
from collections.abc import Callable
from pathlib import Path

from serve import artifact
from tests.images.conftest import Job, channels_of, sizes
from tests.images.container import RESTRICTED, Container

NAME = "image-classification"

Image = Callable[[str], str]
Channels = tuple[Path, dict[str, object]]


def test_job_ends_well_with_read_only_root_foreign_uid_and_no_network(trained: Path, drawn_channels: Channels) -> None:
    description = artifact.read(trained)
    assert set(description.class_names) == {folder.name for folder in (drawn_channels[0] / "train").iterdir()}
    names = {path.name for path in trained.iterdir()}
    assert {"model.onnx", "model.json", "image-classification-symbol.json", "model-shapes.json"} <= names
    assert "image-classification-0001.params" in names
    log = (trained.parent / "log").read_text()
    assert "Epoch[0] Validation-accuracy=" in log
    assert "Permission denied" not in log
    assert "Read-only file system" not in log


def test_channels_are_left_as_they_were(trained: Path, drawn_channels: Channels) -> None:
    kinds = {path.suffix for path in drawn_channels[0].rglob("*") if path.is_file()}
    assert kinds == {".jpg", ".lst", ".txt"}


def test_image_without_arguments_trains_and_a_wrong_hyperparameter_is_the_users(
    image: Image, job: Job, drawn_channels: Channels
) -> None:
    channels, counts = drawn_channels
    base, mounts = job(channels, counts | {"num_layerz": 18})
    with Container(image(NAME), mounts=mounts) as container:
        assert container.wait(60) == 2, container.log()
    failure = (base / "output" / "failure").read_text()
    assert failure.startswith("ClientError: ")
    assert "num_layerz" in failure
    assert "num_layers" in failure


def test_sigterm_keeps_the_best_model_so_far_and_ends_with_0_in_time(
    image: Image, job: Job, drawn_channels: Channels
) -> None:
    channels, counts = drawn_channels
    base, mounts = job(channels, counts | {"epochs": 1000})
    with Container(image(NAME), "train", mounts=mounts) as container:
        container.wait_for("Storing the best model", 120)
        begin = time.monotonic()
        assert container.stop(120) == 0, container.log()
        assert time.monotonic() - begin < 100
        assert "SIGTERM received" in container.log()
    description = artifact.read(base / "model")
    assert description.task == NAME
    assert list((base / "model").glob("image-classification-*.params"))
    assert not (base / "output" / "failure").exists()


def test_real_photos_train_with_their_dirt(image: Image, job: Job, pets: Path, tmp_path: Path) -> None:
    summary = channels_of(pets, tmp_path / "channels")
    base, mounts = job(tmp_path / "channels", sizes(summary) | {"mini_batch_size": 32})
    with Container(image(NAME), "train", mounts=mounts, options=RESTRICTED) as container:
        assert container.wait(240) == 0, container.log()
    description = json.loads((base / "model" / "model.json").read_text())
    assert description["class_names"] == summary.class_names
