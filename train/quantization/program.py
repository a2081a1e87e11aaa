"""`python -m train.quantization.program`: writes an int8 graph, in a process of its own that may fail.

In the work folder: files.json, a list of paths of image files. Written there: model.int8.onnx, and layers.json: the
names of `all` layers but the last, of those that a scan has `scanned`, and of those that are left in `float`. What a
first call has computed is kept there for a second one with --scan.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serve import artifact, preprocess
from serve.artifact import MODEL_INT8, MODEL_ONNX, InputSpec
from train.quantization import sensitivity
from train.quantization.quantizer import Photos, fold, plan, quantize

_SCANNED = 8  # photos with which a scan measures each layer


def main() -> None:
    """Quantise a model once."""
    parser = argparse.ArgumentParser(prog="python -m train.quantization.program", description=__doc__.splitlines()[0])
    parser.add_argument("--model-dir", type=Path, required=True, help="folder with model.json and model.onnx")
    parser.add_argument("--work", type=Path, required=True, help="folder with files.json")
    parser.add_argument("--scan", type=float, metavar="SECONDS", help="leave the worst layers in float")
    parser.add_argument("--per-tensor", action="store_true", help="one scale for all channels of a layer's weights")
    parser.add_argument("--full-range", action="store_true", help="weights of 8 bits, for processors with VNNI")
    arguments = parser.parse_args()
    work, spec = arguments.work, artifact.read(arguments.model_dir).input
    files = json.loads((work / "files.json").read_text(encoding="utf-8"))
    folded = work / "folded.onnx"
    if not folded.exists():
        fold(arguments.model_dir / MODEL_ONNX, folded)
    made = plan(folded)
    photos = Photos(spec.name, _tensors(files, spec), work / "ranges.json")
    options = {"per_channel": not arguments.per_tensor, "reduce_range": not arguments.full_range}
    errors: dict[str, float] = {}
    if arguments.scan is not None:
        errors = sensitivity.scan(made, photos, list(_tensors(files[:_SCANNED], spec)), work, arguments.scan, **options)
    left = sensitivity.worst(errors) if errors else []
    quantize(made, photos, work / MODEL_INT8, [name for name in made.nodes if name not in left], **options)
    layers = {"all": made.layers, "scanned": list(errors), "float": left}
    (work / "layers.json").write_text(json.dumps(layers), encoding="utf-8")


def _tensors(files: list[str], spec: InputSpec) -> Iterator[NDArray[np.float32]]:
    for file in files:
        yield preprocess.load(Path(file).read_bytes(), spec)


if __name__ == "__main__":
    main()
