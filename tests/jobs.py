"""Runs small training jobs with the real `train` on generated data in a folder like /opt/ml."""

import fcntl
import io
import json
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.environments import REPOSITORY, python
from train.data import recordio

CLASSES = ("across", "down", "squares")

HYPERPARAMETERS: dict[str, Any] = {
    "num_classes": 3,
    "num_training_samples": 96,
    "num_layers": 20,
    "image_shape": "3,32,32",
    "resize": 36,
    "mini_batch_size": 16,
    "learning_rate": 0.05,
    "optimizer": "nag",
    "augmentation_type": "crop",
    "epochs": 3,
}


def stripes(label: int, rng: np.random.Generator, size: int = 48) -> Image.Image:
    """Draw horizontal stripes, vertical stripes or a chequerboard. Flips, colour changes and crops keep the class."""
    period = rng.uniform(6, 12)
    rows = np.sin(2 * np.pi * (np.arange(size) / period + rng.random()))[:, None] + np.zeros((1, size))
    columns = rows.T
    pattern = (rows, columns, rows * columns)[label]
    light, dark = rng.uniform(120, 255, 3), rng.uniform(0, 100, 3)
    photo = np.where(pattern[..., None] > 0, light, dark) + rng.normal(0, 15, (size, size, 3))
    return Image.fromarray(np.clip(photo, 0, 255).astype(np.uint8))


def channels(base: Path, train: int, validation: int, suffix: str) -> Iterator[tuple[int, Path, Path]]:
    """Make the folders CHANNEL and CHANNEL_`suffix`, and yield (index, folder, suffixed folder) for each photo."""
    for channel, count in (("train", train), ("validation", validation)):
        images, others = (base / "input" / "data" / name for name in (channel, f"{channel}_{suffix}"))
        images.mkdir(parents=True)
        others.mkdir(parents=True)
        for index in range(count):
            yield index, images, others


def image_channels(base: Path, train: int = 96, validation: int = 30) -> Path:
    """Write image + .lst channels with striped photos in class folders, and return `base`."""
    rng = np.random.default_rng(5)
    for index, images, lists in channels(base, train, validation, "lst"):
        label = index % len(CLASSES)
        path = images / CLASSES[label] / f"{index}.jpg"
        path.parent.mkdir(exist_ok=True)
        stripes(label, rng).save(path, quality=92)
        with (lists / f"{images.name}.lst").open("a") as lst:
            lst.write(f"{index}\t{label}\t{path.relative_to(images)}\n")
    return base


def write_lst(base: Path, channel: str, lines: Sequence[str]) -> None:
    """Write the channel's .lst file."""
    folder = base / "input" / "data" / f"{channel}_lst"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{channel}.lst").write_text("\n".join(lines) + "\n")


def record_channels(base: Path, source: Path) -> Path:
    """Write the image channels under `source` as RecordIO channels under `base`, with a classes.txt."""
    for channel in ("train", "validation"):
        folder = base / "input" / "data" / channel
        folder.mkdir(parents=True)
        with recordio.Writer(folder / f"{channel}.rec") as writer:
            lines = (source / "input" / "data" / f"{channel}_lst" / f"{channel}.lst").read_text().splitlines()
            for line in lines:
                index, label, name = line.split("\t")
                image = (source / "input" / "data" / channel / name).read_bytes()
                writer.write(recordio.pack_image(float(label), int(index), image))
    (base / "input" / "data" / "train" / "classes.txt").write_text("Across\nDown\nSquares\n")
    return base


BARRED: dict[str, Any] = {
    "num_classes": 2,
    "num_training_samples": 32,
    "num_layers": 20,
    "mini_batch_size": 8,
    "learning_rate": 0.01,
    "optimizer": "adam",
    "epochs": 6,
}


def barred_channels(base: Path, width: int, height: int, form: str) -> Path:
    """Write `rec` or `lst` channels in which a bar at one end of the picture shows the class, and return `base`.

    Training and validation use the same 32 pictures. The bar is 6 pixels wide and parallel to the shorter side.
    """
    rng = np.random.default_rng(8)
    pictures = []
    for index in range(32):
        pixels = rng.integers(90, 166, (height, width, 3), np.uint8)
        bar = pixels[:, :6] if width >= height else pixels[:6]
        bar[...] = [(255, 0, 0), (0, 0, 255)][index % 2]
        encoded = io.BytesIO()
        Image.fromarray(pixels).save(encoded, "PNG")
        pictures.append(encoded.getvalue())
    for channel in ("train", "validation"):
        folder = base / "input" / "data" / channel
        folder.mkdir(parents=True)
        if form == "rec":
            with recordio.Writer(folder / f"{channel}.rec") as writer:
                for index, picture in enumerate(pictures):
                    writer.write(recordio.pack_image(float(index % 2), index, picture))
        else:
            for index, picture in enumerate(pictures):
                (folder / f"{index}.png").write_bytes(picture)
            write_lst(base, channel, [f"{index}\t{index % 2}\t{index}.png" for index in range(len(pictures))])
    return base


DETECTION: dict[str, Any] = {
    "num_classes": 2,
    "num_training_samples": 48,
    "base_network": "resnet-18",
    "use_pretrained_model": 0,
    "image_shape": 64,
    "mini_batch_size": 8,
    "learning_rate": 0.002,
    "optimizer": "adam",
    "epochs": 2,
}
SHAPES = ("square", "disc")


def shape(label: int, rng: np.random.Generator, smallest: int, largest: int) -> tuple[Image.Image, list[int]]:
    """Draw a red square or blue disc on 72 x 60 pixels of dark noise. Return its left, top, width and height too."""
    side = int(rng.integers(smallest, largest + 1))
    left, top = int(rng.integers(0, 72 - side)), int(rng.integers(0, 60 - side))
    photo = rng.integers(0, 60, (60, 72, 3)).astype(np.uint8)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    inside = np.ones((side, side), bool) if label == 0 else x**2 + y**2 <= (side / 2) ** 2
    photo[top : top + side, left : left + side][inside] = [(230, 40, 40), (40, 40, 230)][label]
    return Image.fromarray(photo), [left, top, side, side]


def boxed_channels(base: Path, train: int = 48, validation: int = 12) -> Path:
    """Write image + JSON channels with one square or disc per photo, and return `base`.

    The shapes are about as large as the finest map's anchors at image_shape 64, so the network learns them quickly.
    """
    rng = np.random.default_rng(6)
    for index, images, notes in channels(base, train, validation, "annotation"):
        photo, box = shape(index % 2, rng, 8, 12)
        photo.save(images / f"{index}.jpg", quality=92)
        (notes / f"{index}.json").write_text(json.dumps(annotation(f"{index}.jpg", photo.size, index % 2, box)))
    return base


def annotation(file: str, size: tuple[int, int], label: int, box: Sequence[float]) -> dict[str, Any]:
    """Return an annotation file in the built-in algorithm's format."""
    left, top, width, height = box
    return {
        "file": file,
        "image_size": [{"width": size[0], "height": size[1], "depth": 3}],
        "annotations": [{"class_id": label, "left": left, "top": top, "width": width, "height": height}],
        "categories": [{"class_id": number, "name": name} for number, name in enumerate(SHAPES)],
    }


def boxed_records(base: Path, source: Path) -> Path:
    """Write the boxed channels under `source` as RecordIO channels under `base`."""
    for channel in ("train", "validation"):
        folder = base / "input" / "data" / channel
        folder.mkdir(parents=True)
        with recordio.Writer(folder / f"{channel}.rec") as writer:
            for index, path in enumerate(sorted((source / "input" / "data" / f"{channel}_annotation").iterdir())):
                document = json.loads(path.read_text())
                size, box = document["image_size"][0], document["annotations"][0]
                left, top = box["left"] / size["width"], box["top"] / size["height"]
                right, bottom = left + box["width"] / size["width"], top + box["height"] / size["height"]
                label = [2.0, 5.0, box["class_id"], left, top, right, bottom]
                image = (source / "input" / "data" / channel / document["file"]).read_bytes()
                writer.write(recordio.pack_image(label, index, image))
    return base


SEGMENTATION: dict[str, Any] = {
    "num_classes": 3,
    "num_training_samples": 48,
    "backbone": "resnet-18",
    "use_pretrained_model": "False",
    "base_size": 64,
    "crop_size": 64,
    "mini_batch_size": 8,
    "validation_mini_batch_size": 1,
    "learning_rate": 0.001,
    "optimizer": "adam",
    "epochs": 1,
}
MASK_CLASSES = ("nothing", *SHAPES)


def masked_channels(base: Path, train: int = 48, validation: int = 12) -> Path:
    """Write channels with one square or disc per photo, and masks that ignore the pixels of its outline."""
    rng = np.random.default_rng(7)
    for index, images, truths in channels(base, train, validation, "annotation"):
        photo, (left, top, side, _) = shape(index % 2, rng, 14, 25)
        y, x = np.mgrid[: photo.height, : photo.width]
        y, x = y - top - (side - 1) / 2, x - left - (side - 1) / 2
        reach = np.maximum(np.abs(x), np.abs(y)) if index % 2 == 0 else np.hypot(x, y)
        mask = np.where(reach <= side / 2, 1 + index % 2, 0).astype(np.uint8)
        mask[np.abs(reach - side / 2) < 1] = 255
        photo.save(images / f"{index}.jpg", quality=92)
        Image.fromarray(mask).save(truths / f"{index}.png")
        (truths / "classes.txt").write_text("\n".join(MASK_CLASSES) + "\n")
    return base


def texts(hyperparameters: dict[str, Any]) -> dict[str, str]:
    """Return hyperparameters as the strings that SageMaker passes. None omits one."""
    return {name: str(value) for name, value in hyperparameters.items() if value is not None}


def configure(
    base: Path,
    hyperparameters: dict[str, Any],
    mode: str = "File",
    content_type: str = "",
    defaults: dict[str, Any] = HYPERPARAMETERS,
) -> None:
    """Write input/config as the SDK's local mode does. A hyperparameter of None is omitted."""
    config = base / "input" / "config"
    config.mkdir(parents=True, exist_ok=True)
    (config / "hyperparameters.json").write_text(json.dumps(texts(defaults | hyperparameters)))
    attributes = {"TrainingInputMode": mode} | ({"ContentType": content_type} if content_type else {})
    names = sorted(path.name for path in (base / "input" / "data").iterdir())
    (config / "inputdataconfig.json").write_text(json.dumps(dict.fromkeys(names, attributes)))
    hosts = {"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "eth0"}
    (config / "resourceconfig.json").write_text(json.dumps(hosts))


EARLIER = dict.fromkeys(("model.json", "model.onnx"), "an earlier job")


def earlier_model(base: Path) -> None:
    """Put the model of an earlier job into the model folder."""
    (base / "model").mkdir()
    for name, text in EARLIER.items():
        (base / "model" / name).write_text(text)


@dataclass(frozen=True)
class Done:
    """A job's exit code, log, text of output/failure (or ""), and model folder."""

    code: int
    log: str
    failure: str
    model: Path

    @property
    def lines(self) -> list[str]:
        """The log's lines without the time prefix."""
        return [line.split("] ", 1)[-1] for line in self.log.splitlines()]

    @property
    def description(self) -> dict[str, Any]:
        """The contents of model.json."""
        return json.loads((self.model / "model.json").read_text())

    def texts(self, folder: str = "") -> dict[str, str]:
        """Return the text files in the model folder, or in a folder below it, by name."""
        return {path.name: path.read_text() for path in (self.model / folder).iterdir() if path.is_file()}


def run(
    base: Path,
    until: str | None = None,
    number: int | Callable[[int], object] = signal.SIGTERM,
    delay: float = 0,
    environ: dict[str, str] | None = None,
    limits: Any = None,
    seconds: float = 240,
    environment: str = "mxnet",
    program: Sequence[str] = ("train", "train"),
) -> Done:
    """Run the real `train` on `base`. If `until` is given, send a signal `delay` seconds after a line with that text.

    `number` is the signal, or a function to call with the process id instead. `program` is a module with arguments:
    `train`, or tests.trouble, which wraps it.
    """
    env = os.environ | {"VISION_ALGORITHM": "image-classification", "SAGEMAKER_BASE_DIR": str(base)}
    # OpenMP's threads spin while they wait. With more threads than processors, a job takes three times as long.
    env |= {"OMP_NUM_THREADS": "1"} | (environ or {})
    with subprocess.Popen(
        [python(environment), "-m", *program],
        cwd=REPOSITORY,
        env=env | {"PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=limits,
        start_new_session=True,
    ) as process:
        deadline = threading.Timer(seconds, process.kill)
        deadline.start()
        try:
            log = "".join(_watched(process, until, number, delay))
            code = process.wait()
        finally:
            deadline.cancel()
            process.kill()
    print(log)
    failure = base / "output" / "failure"
    return Done(code, log, failure.read_text() if failure.exists() else "", base / "model")


HOSTS = ("localhost", "127.0.0.1")  # two names of this machine


def run_on_two_hosts(folders: Sequence[Path], second: Mapping[str, Any] | None = None, **options: Any) -> list[Done]:
    """Run one job on two hosts, each with a folder. It uses fixed ports, so only one of these jobs runs at a time.

    `second` overrides options for the second host.
    """
    name_hosts(folders)
    both = options, options if second is None else {**options, **second}
    with ports_of_several_hosts(), ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda base, own: run(base, **own), folders, both))


def name_hosts(folders: Sequence[Path]) -> None:
    """Configure the jobs in these folders as one job on two hosts."""
    for base, host in zip(folders, HOSTS, strict=True):
        config = base / "input" / "config" / "resourceconfig.json"
        config.write_text(json.dumps({"hosts": HOSTS, "current_host": host}))


@contextmanager
def ports_of_several_hosts() -> Iterator[None]:
    """Wait until no other test uses the ports of a job on several hosts."""
    with Path(tempfile.gettempdir(), "sagemaker-vision-two-hosts.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _watched(
    process: subprocess.Popen[str], until: str | None, number: int | Callable[[int], object], delay: float
) -> Iterator[str]:
    for line in process.stdout:
        yield line
        if until is not None and until in line:
            if callable(number):
                send = partial(number, process.pid)
            else:
                # A terminal's Ctrl-C reaches the whole process group, SageMaker's SIGTERM only the first process.
                kill = partial(os.killpg, process.pid) if number == signal.SIGINT else process.send_signal
                send = partial(kill, number)
            threading.Timer(delay, send).start() if delay else send()
            until = None
