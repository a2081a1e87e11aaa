"""Adds an int8 graph to an artifact for speed measurements, without checking its quality.

.venvs/mxnet/bin/python -m benchmarks.int8 MODEL_DIR --images DIR
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from serve import artifact
from serve.artifact import INT8, MODEL_INT8, Quantization

_PHOTOS = 32


def main() -> None:
    """Write MODEL_DIR/model.int8.onnx, and select it in model.json."""
    parser = argparse.ArgumentParser(prog="benchmarks.int8", description=__doc__.splitlines()[0])
    parser.add_argument("model", metavar="MODEL_DIR", type=Path, help="folder with model.json and model.onnx")
    parser.add_argument("--images", type=Path, required=True, help="a folder with photos to calibrate on")
    arguments = parser.parse_args()
    photos = sorted(str(path.absolute()) for path in arguments.images.rglob("*.jpg"))[:_PHOTOS]
    with tempfile.TemporaryDirectory() as work:
        (Path(work) / "files.json").write_text(json.dumps(photos))
        command = [sys.executable, "-m", "train.quantization.program", "--model-dir", arguments.model, "--work", work]
        subprocess.run(command, check=True)
        (arguments.model / MODEL_INT8).write_bytes((Path(work) / MODEL_INT8).read_bytes())
    quantized = replace(artifact.read(arguments.model), quantization=Quantization(INT8, True, {}))
    artifact.write(quantized, arguments.model)


if __name__ == "__main__":
    main()
