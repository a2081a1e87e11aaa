"""`python -m train.quantization.program`: write an int8 graph, in a separate process so that a crash is harmless.

The work folder must contain files.json, a list of image paths. The program writes model.int8.onnx and layers.json to
it. layers.json has the names of layers under three keys: `all` (except the last layers), `scanned` (by a scan) and
`float` (kept in float). Intermediate results stay in the folder for a second call with --scan.
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

_SCAN_PHOTOS = 8  # photos with which a scan measures each layer


def main() -> None:
    """Quantize a model once."""
    parser = argparse.ArgumentParser(prog="python -m train.quantization.program", description=__doc__.splitlines()[0])
    parser.add_argument("--model-dir", type=Path, required=True, help="folder with model.json and model.onnx")
    parser.add_argument("--work", type=Path, required=True, help="folder with files.json")
    parser.add_argument("--scan", type=float, metavar="SECONDS", help="keep the worst layers in float")
    parser.add_argument("--per-tensor", action="store_true", help="use one scale for all channels of a layer's weights")
    parser.add_argument("--full-range", action="store_true", help="use 8-bit weights, only for processors with VNNI")
    arguments = parser.parse_args()
    work, spec = arguments.work, artifact.read(arguments.model_dir).input
    files = json.loads((work / "files.json").read_text(encoding="utf-8"))
    folded = work / "folded.onnx"
    if not folded.exists():
        fold(arguments.model_dir / MODEL_ONNX, folded)
    quantization_plan = plan(folded)
    photos = Photos(spec.name, _tensors(files, spec), work / "ranges.json")
    options = {"per_channel": not arguments.per_tensor, "reduce_range": not arguments.full_range}
    errors: dict[str, float] = {}
    if arguments.scan is not None:
        tensors = list(_tensors(files[:_SCAN_PHOTOS], spec))
        errors = sensitivity.scan(quantization_plan, photos, tensors, work, arguments.scan, **options)
    float_layers = sensitivity.worst(errors) if errors else []
    nodes = [name for name in quantization_plan.nodes if name not in float_layers]
    quantize(quantization_plan, photos, work / MODEL_INT8, nodes, **options)
    layers = {"all": quantization_plan.layers, "scanned": list(errors), "float": float_layers}
    (work / "layers.json").write_text(json.dumps(layers), encoding="utf-8")


def _tensors(files: list[str], spec: InputSpec) -> Iterator[NDArray[np.float32]]:
    for file in files:
        yield preprocess.load(Path(file).read_bytes(), spec)


if __name__ == "__main__":
    main()
