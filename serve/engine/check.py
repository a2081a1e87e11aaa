"""`python -m serve.engine.check`: verifies a training job's exported model through the serving code.

Reads from the work folder: tensors.npy, float32 (N, channels, height, width), and files.json, a list of paths to
image files. Writes into it: tensor_outputs.npz with each graph output under its name, N first; and file_outputs.npz
with arrays "0", "1", ..., the prediction for each file: probabilities (classes,), detections (d, 6), or a mask, uint8
(H, W).
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
    """An input of the check cannot be used. The message names it."""


def main() -> None:
    """Run the model on the tensors and the files. Exits with code 1 and a one-sentence message if that fails."""
    parser = argparse.ArgumentParser(prog="python -m serve.engine.check", description=__doc__.splitlines()[0])
    parser.add_argument("--model-dir", type=Path, required=True, help="folder with model.json and model.onnx")
    parser.add_argument("--work", type=Path, required=True, help="folder with tensors.npy and files.json")
    arguments = parser.parse_args()
    try:
        engine = OnnxEngine(arguments.model_dir, machine.cpu_count())
        tensors = np.load(arguments.work / "tensors.npy", allow_pickle=False)
        files = json.loads((arguments.work / "files.json").read_text(encoding="utf-8"))
        tensor_outputs = run_tensors(engine, tensors)
        _save(arguments.work / "file_outputs.npz", run_files(engine, files), zipfile.ZIP_DEFLATED)
        _save(arguments.work / "tensor_outputs.npz", tensor_outputs.items(), zipfile.ZIP_STORED)
    except (ArtifactError, CheckError, FloatingPointError, OSError) as error:
        sys.exit(f"serve.engine.check: {error}")
    print(f"serve.engine.check: {len(tensors)} tensors and {len(files)} files through {engine.artifact.network}")


def run_tensors(engine: OnnxEngine, tensors: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Return the graph's outputs by name for float32 (N, channels, height, width), computed in batches."""
    batches = [tensors[start : start + BATCH] for start in range(0, len(tensors), BATCH)]
    if not batches:  # not every graph can compute an empty batch
        blank = engine.run(np.zeros((1, *tensors.shape[1:]), np.float32))
        return {name: output[:0] for name, output in blank.items()}
    outputs = [engine.run(batch) for batch in batches]
    return {name: np.concatenate([output[name] for output in outputs]) for name in outputs[0]}


def run_files(engine: OnnxEngine, files: list[str]) -> Iterator[tuple[str, Output]]:
    """Yield the number of each file and its prediction, computed by the same functions as for a request."""
    for number, file in enumerate(files):
        yield str(number), _predict(engine, file)


def _predict(engine: OnnxEngine, path: str) -> Output:
    try:
        return engine.task.evaluated(engine.predict(Path(path).read_bytes()))
    except UnreadableImage as error:
        raise CheckError(f"{path}: the image {error}") from error


def _save(path: Path, arrays: Iterable[tuple[str, Output]], compression: int) -> None:
    """Write an .npz file array by array, so that the masks of a thousand photos are not in memory at once."""
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
