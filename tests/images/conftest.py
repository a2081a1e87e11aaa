"""Fixtures of the container tests: channels, folders like /opt/ml, and a trained model of each algorithm."""

import functools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from local import algorithms
from local.commands import prepare
from local.datasets import layouts
from local.images import TRAINING
from local.sagemaker import opt_ml
from tests.images.container import RESTRICTED, Container, make_removable


@dataclass(frozen=True)
class Case:
    """A small job of an algorithm, and the files that it writes."""

    name: str
    hyperparameters: Mapping[str, object]
    files: frozenset[str]
    kinds: frozenset[str]
    """The suffixes of the files in the channels."""
    task: str = ""
    """The task in model.json, if it is not the algorithm's name."""


CLASSIFIER = Case(
    "image-classification",
    {
        "num_layers": 20,
        "image_shape": "3,32,32",
        "resize": 36,
        "mini_batch_size": 8,
        "epochs": 1,
        "learning_rate": 0.05,
        "top_k": 2,
    },
    frozenset({"image-classification-0001.params", "image-classification-symbol.json", "model-shapes.json"}),
    frozenset({".jpg", ".lst", ".txt"}),
)
DETECTOR = Case(
    "object-detection",
    {"base_network": "resnet-18", "use_pretrained_model": 0, "image_shape": 64, "mini_batch_size": 8, "epochs": 1},
    frozenset({"model_algo_1-0000.params", "model_algo_1-symbol.json", "hyperparams.json"}),
    frozenset({".jpg", ".json"}),
)
SEGMENTER = Case(
    "semantic-segmentation",
    {
        "backbone": "resnet-18",
        "use_pretrained_model": "False",
        "base_size": 64,
        "crop_size": 64,
        "mini_batch_size": 8,
        "validation_mini_batch_size": 1,
        "epochs": 1,
    },
    frozenset({"model_best.params", "model_algo-1", "hyperparams.json"}),
    frozenset({".jpg", ".png", ".json", ".txt"}),
)
TENSORFLOW = Case(
    "image-classification-tensorflow",
    {"image_shape": "3,32,32", "alpha": 0.35, "batch_size": 8, "epochs": 1, "top_k": 2},
    frozenset({"model.keras"}),
    frozenset({".jpg"}),
    "image-classification",
)
CASES = {case.name: case for case in (CLASSIFIER, DETECTOR, SEGMENTER, TENSORFLOW)}
assert tuple(CASES) == TRAINING, "every algorithm must be tested"
EACH = pytest.mark.parametrize("case", CASES.values(), ids=CASES)

Channels = tuple[Path, dict[str, object]]
"""A folder of channels, and the hyperparameters for the numbers of classes and samples."""
Job = Callable[..., tuple[Path, dict[str, Path]]]


def channels_of(data: Path, out: Path, name: str) -> prepare.Summary:
    algorithm = algorithms.get(name)
    official = layouts.detect(data, task=algorithm.task).read(algorithm.task, algorithm.demo_classes)
    train, validation = prepare.split(official)
    return prepare.write_channels(official, train, validation, out, name=name)


def sizes(summary: prepare.Summary) -> dict[str, object]:
    return {"num_classes": len(summary.class_names), "num_training_samples": summary.counts["train"]}


@pytest.fixture(scope="session")
def drawn_channels(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case], Channels]:
    """`drawn_channels(case)` returns the channels of the drawn data set."""

    @functools.cache
    def write(name: str) -> Channels:
        out = tmp_path_factory.mktemp("channels") / name
        return out, sizes(channels_of(drawn, out, name))

    return lambda case: write(case.name)


@pytest.fixture(scope="session")
def job(image: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Job]:
    """`job(case, channels, hyperparameters)` returns a new world-writable folder for /opt/ml, and all mounts."""
    folders_of_jobs: list[Path] = []

    def lay_out(case: Case, channels: Path, hyperparameters: Mapping[str, object]) -> tuple[Path, dict[str, Path]]:
        base = tmp_path_factory.mktemp("opt") / "ml"
        folders = {folder.name: folder for folder in channels.iterdir()}
        opt_ml.lay_out(base, {}, {**case.hyperparameters, **hyperparameters})
        config = {name: {"TrainingInputMode": "File", "ContentType": opt_ml.IMAGES} for name in folders}
        (base / "input" / "config" / "inputdataconfig.json").write_text(json.dumps(config))
        for folder in (base, base / "model", base / "output"):
            folder.chmod(0o777)
        folders_of_jobs.append(base)
        data = {f"/opt/ml/input/data/{name}:ro": folder for name, folder in folders.items()}
        return base, {"/opt/ml": base, **data}

    yield lay_out
    for base in folders_of_jobs:
        make_removable(base, image("image-classification"))


@pytest.fixture(scope="session")
def trained(
    image: Callable[[str], str], job: Job, drawn_channels: Callable[[Case], Channels]
) -> Callable[[Case], Path]:
    """`trained(case)` returns the model of a job on drawn pets, run with a read-only root, another uid and no network.

    The file `log` next to the model folder holds the container's log.
    """

    @functools.cache
    def model(name: str) -> Path:
        case = CASES[name]
        base, mounts = job(case, *drawn_channels(case))
        with Container(image(name), "train", mounts=mounts, options=RESTRICTED) as container:
            assert container.wait(180) == 0, container.log()
            (base / "log").write_text(container.log())
        return base / "model"

    return lambda case: model(case.name)
