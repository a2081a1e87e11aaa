"""`python -m serve.check`: what a training job runs at its end, to see its model answer as it will when served.

In the work folder: tensors.npy, float32 (N, channels, height, width), and files.json, a list of paths of
image files. Written there: tensor_outputs.npy and file_outputs.npy, float32 (N, classes) and (M, classes).
"""

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np

from serve import machine
from serve.artifact import ArtifactError
from serve.engine import Engine
from serve.preprocess import UnreadableImage

BATCH = 16


class CheckError(Exception):
    """An input of the check that cannot be used; the message names it."""


def main() -> None:
    """Run the model on the tensors and on the files. Exits 1 with one sentence on stderr when it cannot."""
    parser = argparse.ArgumentParser(prog="python -m serve.check", description=__doc__.splitlines()[0])
    parser.add_argument("--model-dir", type=Path, required=True, help="folder with model.json and model.onnx")
    parser.add_argument("--work", type=Path, required=True, help="folder with tensors.npy and files.json")
    arguments = parser.parse_args()
    try:
        engine = Engine(arguments.model_dir, machine.cpu_count())
        tensors = run_tensors(engine, np.load(arguments.work / "tensors.npy", allow_pickle=False))
        files = run_files(engine, json.loads((arguments.work / "files.json").read_text(encoding="utf-8")))
        _save(arguments.work / "tensor_outputs.npy", tensors)
        _save(arguments.work / "file_outputs.npy", files)
    except (ArtifactError, CheckError, FloatingPointError, OSError) as error:
        sys.exit(f"serve.check: {error}")
    print(f"serve.check: {len(tensors)} tensors and {len(files)} files through {engine.artifact.network}")


def run_tensors(engine: Engine, tensors: np.ndarray) -> np.ndarray:
    """float32 (N, channels, height, width) -> float32 (N, classes), in batches."""
    outputs = [engine.run(tensors[start : start + BATCH]) for start in range(0, len(tensors), BATCH)]
    return np.concatenate([_nothing(engine), *outputs])


def run_files(engine: Engine, files: list[str]) -> np.ndarray:
    """Each file's bytes through the function that answers a request -> float32 (M, classes)."""
    outputs = [_classify(engine, file)[np.newaxis] for file in files]
    return np.concatenate([_nothing(engine), *outputs])


def _classify(engine: Engine, path: str) -> np.ndarray:
    try:
        return engine.classify(Path(path).read_bytes())
    except UnreadableImage as error:
        raise CheckError(f"{path}: the image {error}. Leave it out of files.json.") from error


def _nothing(engine: Engine) -> np.ndarray:
    return np.empty((0, len(engine.artifact.class_names)), np.float32)


def _save(path: Path, array: np.ndarray) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            np.save(file, array)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
