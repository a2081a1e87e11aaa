"""SageMaker's SDK v2 in local mode: notebooks written for the built-in algorithms work with our images."""

import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput

from local.commands import prepare
from serve import artifact, preprocess
from tests.environments import REPOSITORY
from tests.images.container import inspect
from tests.images.loopback import push, registry, tagged
from tests.local_mode.responses import SMALL, is_detections, is_probabilities
from tests.pages import SWITCHING, snippet
from tests.products.serving import probabilities
from tests.sdk2.conftest import Cells

MAKEFILE_URI = "sagemaker-vision/image-classification:dev"
MAKEFILE_DETECTION_URI = "sagemaker-vision/object-detection:dev"
MAKEFILE_SEGMENTATION_URI = "sagemaker-vision/semantic-segmentation:dev"
# The hyperparameters of notebooks for the built-ins. The page must keep them all, but it may count the photos.
CLASSIFICATION = {
    "num_layers": 18,
    "use_pretrained_model": 0,
    "image_shape": "3,224,224",
    "num_classes": 3,
    "mini_batch_size": 32,
    "resize": 224,
    "epochs": 1,
    "learning_rate": 0.001,
    "num_training_samples": 300,
    "use_weighted_loss": 1,
    "augmentation_type": "crop_color_transform",
}
DETECTION = {
    "base_network": "resnet-50",
    "num_classes": 2,
    "use_pretrained_model": 0,
    "mini_batch_size": 4,
    "epochs": 1,
    "learning_rate": 0.001,
    "lr_scheduler_step": "10",
    "lr_scheduler_factor": 0.1,
    "optimizer": "sgd",
    "momentum": 0.9,
    "weight_decay": 0.0005,
    "overlap_threshold": 0.5,
    "nms_threshold": 0.45,
    "image_shape": 300,
}
SEGMENTATION = {
    "backbone": "resnet-50",
    "algorithm": "fcn",
    "use_pretrained_model": "False",
    "crop_size": 240,
    "num_classes": 4,
    "epochs": 1,
    "learning_rate": 0.0001,
    "optimizer": "rmsprop",
    "lr_scheduler": "poly",
    "mini_batch_size": 16,
    "validation_mini_batch_size": 16,
    "early_stopping": True,
    "early_stopping_patience": 3,
    "early_stopping_min_epochs": 10,
}


def files(cells: Cells) -> set[str]:
    """Return the names in the model.tar.gz of the notebook's estimator."""
    with tarfile.open(cells["estimator"].model_data.removeprefix("file://")) as archive:
        return set(archive.getnames())


def tree(folder: Path) -> set[tuple[str, int, int]]:
    """Return path, size and modification time of everything below `folder`."""
    entries = ((path, path.stat()) for path in folder.rglob("*"))
    return {(str(path), status.st_size, status.st_mtime_ns) for path, status in entries}


def test_a_classification_notebook_for_the_built_in_trains_deploys_and_predicts(
    machine: Path, uri: str, notebook_folder: Path
) -> None:
    code = snippet("sdk2")
    assert MAKEFILE_URI in code
    cells = Cells(code.replace(MAKEFILE_URI, uri), SWITCHING, notebook_folder)
    assert cells["estimator"].hyperparameters() == CLASSIFICATION
    assert is_probabilities(cells["probabilities"], 3), cells["probabilities"]
    assert "Epoch[0] Validation-accuracy=" in cells.log
    warnings = [line for line in cells.log.splitlines() if "use_weighted_loss" in line and "ignored" in line]
    assert warnings, "use_weighted_loss without multi_label must give a warning"
    expected = {"image-classification-0001.params", "image-classification-symbol.json", "model-shapes.json"}
    assert expected | {"model.onnx", "model.json"} <= files(cells)


def test_a_detection_notebook_for_the_built_in_trains_deploys_and_predicts(
    machine: Path, image: Callable[[str], str], boxed_channels: Path, detection_folder: Path
) -> None:
    before = tree(boxed_channels)
    code = snippet("sdk2-detection")
    assert MAKEFILE_DETECTION_URI in code
    cells = Cells(code.replace(MAKEFILE_DETECTION_URI, image("object-detection")), SWITCHING, detection_folder)
    samples = len(list((boxed_channels / "train").iterdir()))
    assert cells["estimator"].hyperparameters() == {**DETECTION, "num_training_samples": samples}
    assert is_detections(cells["prediction"], 2), cells["prediction"]
    assert cells["prediction"], "one epoch must give scores above the minimum of 0.01"
    assert "epoch=0, validation mAP <score>=(" in cells.log
    expected = {"model_algo_1-0000.params", "model_algo_1-symbol.json", "hyperparams.json"}
    assert expected | {"model.onnx", "model.json"} <= files(cells)
    assert tree(boxed_channels) == before


def mask(cells: Cells, size: tuple[int, int]) -> np.ndarray:
    """Check that a segmentation notebook's prediction is a PNG mask of `size`, and return its class ids."""
    with Image.open(io.BytesIO(cells["mask"])) as opened:
        assert (opened.format, opened.mode, opened.size) == ("PNG", "P", size)
        return np.asarray(opened)


def test_a_segmentation_notebook_for_the_built_in_trains_deploys_and_predicts(
    machine: Path, image: Callable[[str], str], masked_channels: Path, segmentation_folder: Path
) -> None:
    before = tree(masked_channels)
    code = snippet("sdk2-segmentation")
    assert MAKEFILE_SEGMENTATION_URI in code
    cells = Cells(
        code.replace(MAKEFILE_SEGMENTATION_URI, image("semantic-segmentation")), SWITCHING, segmentation_folder
    )
    assert cells["estimator"].hyperparameters() == {**SEGMENTATION, "num_training_samples": 16}
    with Image.open(segmentation_folder / "photo.jpg") as photo:
        assert mask(cells, photo.size).max() < 4
    assert "#label_map train :{'scale': 1}" in cells.log
    assert ", epoch: 0, validation mIOU: " in cells.log
    assert {"model_best.params", "model_algo-1", "hyperparams.json"} <= files(cells)
    assert {"model.onnx", "model.json"} <= files(cells)
    assert tree(masked_channels) == before


@pytest.mark.parametrize("algorithm", ["psp", "deeplab"])
def test_the_other_decoders_train_and_predict_with_odd_sized_and_grey_photos(
    machine: Path, image: Callable[[str], str], odd_folder: Path, algorithm: str
) -> None:
    code = snippet("sdk2-segmentation").replace(MAKEFILE_SEGMENTATION_URI, image("semantic-segmentation"))
    for old, new in (("fcn", algorithm), ("resnet-50", "resnet-18")):
        assert f'"{old}"' in code
        code = code.replace(f'"{old}"', f'"{new}"')
    cells = Cells(code, SWITCHING, odd_folder)
    assert cells["estimator"].hyperparameters()["algorithm"] == algorithm
    assert mask(cells, (300, 401)).max() < 4


def test_batch_transform_predicts_each_photo_of_a_folder_with_the_sdks_defaults(
    machine: Path, uri: str, channels: Path, product: Callable[[str], Path], tmp_path: Path
) -> None:
    """The expected prediction is a softmax of 4 x the mean of each channel of the crop."""
    model = product("serving") / "classifier" / "model"
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as archive:
        for path in model.iterdir():
            archive.add(path, path.name)
    (tmp_path / "photos").mkdir()
    photos = [path for path, _ in prepare.photos(channels, "validation")][:5]
    for photo in photos:
        shutil.copyfile(photo, tmp_path / "photos" / photo.name)
    (tmp_path / "photos" / "broken.jpg").write_bytes(photos[0].read_bytes()[:500])
    code = snippet("sdk2-transform", REPOSITORY / "docs" / "local-mode.md")
    assert MAKEFILE_URI in code
    Cells(code.replace(MAKEFILE_URI, uri), REPOSITORY / "docs" / "local-mode.md", tmp_path)
    predictions = {path.name: path.read_text() for path in (tmp_path / "answers").iterdir()}
    assert predictions.keys() == {f"{path.name}.out" for path in (tmp_path / "photos").iterdir()}
    assert json.loads(predictions["broken.jpg.out"])["status"] == 400
    spec = artifact.read(model).input
    for photo in photos:
        means = preprocess.load(photo.read_bytes(), spec).mean(axis=(1, 2))
        expected = pytest.approx(probabilities(*means.tolist()), abs=1e-4)
        assert json.loads(predictions[f"{photo.name}.out"]) == {"prediction": expected}


def fit(uri: str, channels: Path, input_mode: str = "File", **hyperparameters: object) -> None:
    """Fit on the image channels."""
    values = {**SMALL, "num_training_samples": 36, **hyperparameters}
    role = "arn:aws:iam::111122223333:role/unused"
    estimator = Estimator(uri, role, instance_count=1, instance_type="local", hyperparameters=values)
    estimator.fit(
        {
            name: TrainingInput(f"file://{channels / name}", content_type="application/x-image", input_mode=input_mode)
            for name in ("train", "validation", "train_lst", "validation_lst")
        }
    )


def test_training_with_fast_file_input_does_not_change_the_channels(
    machine: Path, uri: str, small_channels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(small_channels)
    fit(uri, small_channels, "FastFile")
    assert "Epoch[0] Validation-accuracy=" in capsys.readouterr().out
    assert tree(small_channels) == before


@pytest.mark.parametrize(
    ("wrong", "named"),
    [({"optimiser": "adam"}, ("optimiser", "optimizer")), ({"learning_rate": 2}, ("learning_rate", "2"))],
    ids=["misspelt", "out of range"],
)
def test_a_wrong_hyperparameter_fails_the_job_and_is_named_in_the_log(
    machine: Path,
    uri: str,
    small_channels: Path,
    capsys: pytest.CaptureFixture[str],
    wrong: dict[str, object],
    named: tuple[str, str],
) -> None:
    with pytest.raises(RuntimeError, match="exited with code: 2"):
        fit(uri, small_channels, **wrong)
    log = capsys.readouterr().out
    sentences = [line for line in log.splitlines() if "ClientError:" in line]
    assert sentences, log
    assert all(word in sentences[0] for word in named), sentences[0]


NAME = "image-classification"
TAG = f"pulled-{os.getpid()}"


def test_a_job_can_use_the_image_pulled_by_the_digest_from_push(
    machine: Path, uri: str, small_channels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "registry"
    folder.mkdir()
    with registry(folder) as host:
        reference = f"{host}/sagemaker-vision/{NAME}:{TAG}"
        with tagged(uri, reference):
            done = push(f"{host}/sagemaker-vision", TAG, NAME)
            assert done.returncode == 0, done.stderr
            by_digest = done.stdout.splitlines()[1]
            subprocess.run(["docker", "pull", "--quiet", by_digest], capture_output=True, check=True, timeout=300)
            assert inspect(by_digest)["Id"] == inspect(uri)["Id"]
            fit(by_digest, small_channels)
    assert "@sha256:" in by_digest
    assert "Epoch[0] Validation-accuracy=" in capsys.readouterr().out
