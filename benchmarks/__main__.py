"""`make bench`: runs the benchmarks in this folder on a drawn data set, or on the Oxford-IIIT Pets in --data DIR."""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from local.datasets.drawn import draw
from local.datasets.layouts.pets import lists as pets
from local.errors import UserError
from local.images import IMAGES
from local.sagemaker import opt_ml, programs

ROOT = Path(__file__).resolve().parent.parent
MXNET = ROOT / ".venvs" / "mxnet" / "bin" / "python"
TENSORFLOW = ROOT / ".venvs" / "tensorflow" / "bin" / "python"
KERAS = "image-classification-tensorflow"
_UNTRAINED = {"resnet18": "image-classification", "ssd": "object-detection", "fcn": "semantic-segmentation"}
# The hyperparameters of the job that trains the base weights for the comparison with a Keras script.
_BASE = {"train_layers": "all", "epochs": 40, "mini_batch_size": 32, "learning_rate": 0.001, "dropout": 0.2}


def main() -> int:
    """Run all benchmarks, which takes about forty minutes on 2 cores."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--data", type=Path, help="a data set in the official Oxford-IIIT Pet layout")
    parser.add_argument("--only", choices=("mxnet", "tensorflow"), help="run only the benchmarks of one framework")
    arguments = parser.parse_args()
    if arguments.data is not None:
        try:
            pets.read(arguments.data)
        except UserError as error:
            parser.error(str(error))
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        work = Path(folder)
        data = arguments.data
        if data is None:
            data = work / "data"
            draw.data_set(data, 60, 15)
        if arguments.only != "tensorflow":
            mxnet(data, work)
        if arguments.only != "mxnet":
            tensorflow(data, work)
    return 0


def mxnet(data: Path, work: Path) -> None:
    """Benchmark the training input of each algorithm, and the server under load."""
    for name in (name for name, image in IMAGES.items() if image.stack == "mxnet"):
        channels = _prepare(name, data, work / name)
        print(f"\nTraining {name}: does it wait for its input?", flush=True)
        _run(MXNET, "-m", "benchmarks.training_input", name, "--channels", channels)
    print("\nServing: ResNet-50 at 224 pixels, JPEG in, JSON out", flush=True)
    model = work / "resnet50"
    _run(MXNET, "-m", "benchmarks.untrained", "--layers", "50", "--out", model)
    photo = min((work / "image-classification" / "validation").rglob("*.jpg"))
    _run(sys.executable, "benchmarks/serving_load.py", "--model-dir", model, "--images", photo)
    print("\nServing: int8 and float", flush=True)
    photos = work / "image-classification" / "train"
    models = {folder: ("--task", task, "--layers", 18) for folder, task in _UNTRAINED.items()}
    for folder, options in models.items():
        _run(MXNET, "-m", "benchmarks.untrained", *options, "--out", work / folder)
    _precisions([model, *(work / folder for folder in models)], photos, photo.parent)


def tensorflow(data: Path, work: Path) -> None:
    """Compare a typical Keras script with our training, and TensorFlow with ONNX Runtime for serving."""
    channels = {kind: _prepare(KERAS, data, work / kind, "--classes", kind) for kind in ("breed", "species")}
    print("\nTraining: the base MobileNetV2 for both sides, on the breeds", flush=True)
    parts = {folder.name: folder for folder in channels["breed"].iterdir()}
    opt_ml.lay_out(work / "ml", parts, _BASE)
    programs.train(work / "ml", KERAS)
    weights = work / "ml" / "model" / "model.keras"
    print("\nTraining: a Keras script and this program, cat or dog", flush=True)
    _run(TENSORFLOW, "-m", "benchmarks.keras_program", "--channels", channels["species"], "--weights", weights)
    print("\nServing: MobileNetV2 at 128 pixels, JPEG in, JSON out", flush=True)
    photos = channels["species"] / "validation" / "cat"
    _run(sys.executable, "benchmarks/serving_engines.py", "--model", weights, "--images", photos)
    print("\nServing: int8 and float", flush=True)
    _precisions([weights.parent], channels["species"] / "train", photos)


def _precisions(models: Sequence[Path], calibration: Path, photos: Path) -> None:
    """Compare serving each model's int8 graph with serving its float graph."""
    for model in models:
        _run(MXNET, "-m", "benchmarks.int8", model, "--images", calibration)
    _run(sys.executable, "benchmarks/serving_precision.py", *models, "--images", photos)


def _prepare(name: str, data: Path, out: Path, *options: str) -> Path:
    _run(sys.executable, "-m", "local", "prepare", name, "--data", data, "--out", out, *options)
    return out


def _run(*command: object) -> None:
    subprocess.run([str(part) for part in command], cwd=ROOT, check=True)


if __name__ == "__main__":
    sys.exit(main())
