"""Small jobs of every algorithm: complete, stopped, diverging or ending early. Each runs once for all its tests.

The validation metrics do not depend on the network's predictions. So the first epoch is the best one on every
processor, and a job always logs the same lines.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests import jobs
from train.job.threads import VARIABLES

Ended = Callable[[str, str], jobs.Done]


def one_photo(base: Path) -> None:
    """Lay out .lst channels with the same validation photo in each class."""
    jobs.image_channels(base, train=8, validation=3)
    photo, *others = sorted((base / "input" / "data" / "validation").rglob("*.jpg"))
    for path in others:
        shutil.copy(photo, path)


def one_photo_in_folders(base: Path) -> None:
    """Lay out the same photos in class folders, as one channel."""
    one_photo(base)
    data = base / "input" / "data"
    (data / "training").mkdir()
    for name in ("train", "validation"):
        shutil.rmtree(data / f"{name}_lst")
        (data / name).rename(data / "training" / name)


def boxes(base: Path) -> None:
    """Lay out boxes. With overlap_threshold=1 no detection is ever correct."""
    jobs.boxed_channels(base, train=8, validation=3)


def one_pixel(base: Path) -> None:
    """Lay out masks. The validation photos are identical, and each mask labels one pixel, with a different class."""
    jobs.masked_channels(base, train=8, validation=3)
    data = base / "input" / "data"
    for label in range(3):
        shutil.copy(data / "train" / "0.jpg", data / "validation" / f"{label}.jpg")
        with Image.open(data / "train_annotation" / "0.png") as mask:
            known = np.full((mask.height, mask.width), 255, np.uint8)
        known[30, 30] = label
        Image.fromarray(known).save(data / "validation_annotation" / f"{label}.png")


@dataclass(frozen=True)
class Algorithm:
    """How to lay out an algorithm's jobs, the files that they write, and some of their log lines."""

    environment: str
    lay_out: Callable[[Path], None]
    hyperparameters: dict[str, Any]
    files: frozenset[str]
    """The files that a job writes in addition to model.onnx and model.json."""
    epoch_ended: str
    """Text in the last line of an epoch, or of the best epoch."""
    trained: str
    """Text in the second epoch's last line before its evaluation."""
    schedule: dict[str, Any]
    """Hyperparameters that change the learning rate after the first epoch."""
    last: frozenset[str] = frozenset()
    """The files of the last epoch, which a job writes unless that epoch diverged."""


TWO_BATCHES = {"num_training_samples": 8, "mini_batch_size": 4, "epochs": 3}
ALGORITHMS = {
    "image-classification": Algorithm(
        "mxnet",
        one_photo,
        jobs.HYPERPARAMETERS | TWO_BATCHES,
        frozenset({"image-classification-0001.params", "image-classification-symbol.json", "model-shapes.json"}),
        "Saved checkpoint",
        "Epoch[1] Time cost",
        {"lr_scheduler_step": "1"},
    ),
    "object-detection": Algorithm(
        "mxnet",
        boxes,
        jobs.DETECTION | TWO_BATCHES | {"overlap_threshold": 1},
        frozenset({"model_algo_1-0000.params", "model_algo_1-symbol.json", "hyperparams.json"}),
        "#throughput_metric",
        "epoch=1, batch=2 train smooth_l1",
        {"lr_scheduler_step": "1"},
    ),
    "semantic-segmentation": Algorithm(
        "mxnet",
        one_pixel,
        jobs.SEGMENTATION | TWO_BATCHES,
        frozenset({"model_best.params", "hyperparams.json"}),
        "#progress_metric",
        "epoch: 1, train throughput",
        {"lr_scheduler": "step", "lr_scheduler_step": "1"},
        frozenset({"model_algo-1"}),
    ),
    "image-classification-tensorflow": Algorithm(
        "tensorflow",
        one_photo_in_folders,
        TWO_BATCHES | {"image_shape": "3,32,32", "alpha": "0.35", "train_layers": "head"},
        frozenset({"model.keras"}),
        "Saved epoch",
        "Epoch[1] Time cost",
        {"lr_scheduler_step": "1"},
    ),
}


EARLY = {"early_stopping": "True", "early_stopping_min_epochs": 4, "early_stopping_patience": 2, "epochs": 50}
TRAIN, DIVERGE = ("train", "train"), ("tests.trouble", "diverge")


def stop_at(text: str, count: int, number: str = "SIGTERM") -> tuple[str, ...]:
    """Return the program that stops its job at the `count`th moment after a line with `text` (see tests/trouble.py)."""
    return ("tests.trouble", "stop", number, text, str(count))


@dataclass(frozen=True)
class Case:
    """A job: the program that runs it, and its differences from the algorithm's other jobs."""

    program: tuple[str, ...] = TRAIN
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    lay_out: Callable[[Path], None] | None = None


def cases(name: str) -> dict[str, Case]:
    """Return the jobs of an algorithm by the names of their logs."""
    algorithm = ALGORITHMS[name]
    return {
        "whole": Case(TRAIN, {"epochs": 2}),
        "sigterm-before-the-first-epoch": Case(stop_at("Moved the model of an earlier job", 1)),
        "sigterm-in-mid-epoch": Case(stop_at(algorithm.epoch_ended, 2)),
        "sigterm-in-evaluation": Case(stop_at(algorithm.trained, 1)),
        "divergence": Case(DIVERGE, algorithm.schedule),
        "early-stopping": Case(TRAIN, EARLY),
        **MORE.get(name, {}),
    }


MORE = {
    "image-classification": {
        "sigterm-at-the-start": Case(stop_at("", 0)),
        "sigterm-before-the-data": Case(stop_at("Merging", 0)),
        "sigterm-while-data-is-read": Case(stop_at("samples in image form", 0)),
        "sigterm-while-the-artifact-is-checked": Case(stop_at("Epoch[2] Validation-accuracy", 1)),
        "ctrl-c-while-the-artifact-is-checked": Case(stop_at("Epoch[2] Validation-accuracy", 1, "SIGINT")),
        "divergence-in-the-first-epoch": Case(DIVERGE, {"lr_scheduler_step": "1", "num_training_samples": 4}),
        "early-stopping": Case(TRAIN, EARLY | {"checkpoint_frequency": 1}),
    },
    "image-classification-tensorflow": {
        "whole": Case(TRAIN, {"epochs": 2, "train_layers": "all"}),
        "sigterm-in-mid-epoch": Case(
            stop_at("Saved epoch", 2), {"num_classes": 3, "num_training_samples": 9}, one_photo
        ),
    },
}


@contextmanager
def ended(folder: Path, names: Iterable[str]) -> Iterator[Ended]:
    """Run all jobs of the algorithms, two at a time.

    Yield a function of an algorithm and a case that waits for the job and returns its result.
    """
    with ThreadPoolExecutor(2) as pool:
        running = {(name, case): pool.submit(run, folder, name, case) for name in names for case in cases(name)}
        yield lambda name, case: running[name, case].result()
        pool.shutdown(cancel_futures=True)  # if the tests were interrupted


def run(folder: Path, name: str, case: str) -> jobs.Done:
    """Run one job in a folder that holds an earlier model."""
    algorithm, job, base = ALGORITHMS[name], cases(name)[case], folder / name / case
    (job.lay_out or algorithm.lay_out)(base)
    jobs.configure(base, algorithm.hyperparameters | job.hyperparameters, defaults={})
    jobs.earlier_model(base)
    # Two jobs share the processors, and MXNet's waiting threads would spin.
    environ = dict.fromkeys(VARIABLES, "1") | {"VISION_ALGORITHM": name}
    return jobs.run(base, environ=environ, environment=algorithm.environment, program=job.program, seconds=420)
