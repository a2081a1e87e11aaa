"""`python -m serve.engine.check`: what a training job runs at its end, to see its model answer as it will when served.

In the work folder: tensors.npy, float32 (N, channels, height, width), and files.json, a list of paths of
image files. Written there: tensor_outputs.npz, of each of the graph's outputs an array under its name, N first; and
file_outputs.npz, arrays "0", "1", ...: the task's answer for each file, probabilities (classes,), detections (d, 6)
or a mask, uint8 (H, W).
"""

import argparse
import json
import os
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serve import machine
from serve.artifact import ArtifactError
from serve.engine.runtime import OnnxEngine
from serve.preprocess import UnreadableImage

BATCH = 16

Output = NDArray[np.float32] | NDArray[np.uint8]


class CheckError(Exception):
    """An input of the check that cannot be used; the message names it."""


def main() -> None:
    """Run the model on the tensors and on the files. Exits 1 with one sentence on stderr when it cannot."""
    parser = argparse.ArgumentParser(prog="python -m serve.engine.check", description=__doc__.splitlines()[0])
    parser.add_argument("--model-dir", type=Path, required=True, help="folder with model.json and model.onnx")
    parser.add_argument("--work", type=Path, required=True, help="folder with tensors.npy and files.json")
    arguments = parser.parse_args()
    try:
        engine = OnnxEngine(arguments.model_dir, machine.cpu_count())
        tensors = np.load(arguments.work / "tensors.npy", allow_pickle=False)
        files = json.loads((arguments.work / "files.json").read_text(encoding="utf-8"))
        of_tensors = run_tensors(engine, tensors)
        _save(arguments.work / "file_outputs.npz", run_files(engine, files), zipfile.ZIP_DEFLATED)
        _save(arguments.work / "tensor_outputs.npz", of_tensors.items(), zipfile.ZIP_STORED)
    except (ArtifactError, CheckError, FloatingPointError, OSError) as error:
        sys.exit(f"serve.engine.check: {error}")
    print(f"serve.engine.check: {len(tensors)} tensors and {len(files)} files through {engine.artifact.network}")


def run_tensors(engine: OnnxEngine, tensors: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """float32 (N, channels, height, width) -> the graph's outputs by name, computed in batches."""
    batches = [tensors[start : start + BATCH] for start in range(0, len(tensors), BATCH)]
    if not batches:  # a batch of nothing is not something that every graph can compute
        blank = engine.run(np.zeros((1, *tensors.shape[1:]), np.float32))
        return {name: output[:0] for name, output in blank.items()}
    outputs = [engine.run(batch) for batch in batches]
    return {name: np.concatenate([output[name] for output in outputs]) for name in outputs[0]}


def run_files(engine: OnnxEngine, files: list[str]) -> Iterator[tuple[str, Output]]:
    """Each file's bytes through the functions that answer a request -> its number and the task's answer."""
    for number, file in enumerate(files):
        yield str(number), _answer(engine, file)


def _answer(engine: OnnxEngine, path: str) -> Output:
    try:
        return engine.task.evaluated(engine.answer(Path(path).read_bytes()))
    except UnreadableImage as error:
        raise CheckError(f"{path}: the image {error}") from error


def _save(path: Path, arrays: Iterable[tuple[str, Output]], compression: int) -> None:
    """An .npz file, written array after array: the masks of a thousand photos need not be in memory at once."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with zipfile.ZipFile(temporary, "w", compression, compresslevel=1) as archive:
            for name, array in arrays:
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, array, allow_pickle=False)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
