"""Which layers suffer most from integers: each alone is quantised, and the others stay float."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from train.quantization.quantizer import Photos, Plan, quantize

_SHARE_OF_ERROR, _SHARE_OF_LAYERS = 0.5, 0.25
_FATAL_ONLY = 4
# As the server has it (serve.engine.runtime): ONNX Runtime would make integers of the layers that are to stay float.
_WITHOUT = ["WeightBiasQuantization"]


def worst(errors: Mapping[str, float]) -> list[str]:
    """Return the fewest layers with half of all error, the worst first, but of four layers one at most."""
    ranked = sorted(errors, key=lambda name: -errors[name])
    reached = np.cumsum([errors[name] for name in ranked]) >= _SHARE_OF_ERROR * sum(errors.values())
    return ranked[: min(int(np.argmax(reached)) + 1, max(1, int(_SHARE_OF_LAYERS * len(ranked))))]


def scan(
    plan: Plan, photos: Photos, tensors: Sequence[NDArray[np.float32]], work: Path, seconds: float, **options: Any
) -> dict[str, float]:
    """Return by layer how far it moves what the last layers answer to `tensors` (C, H, W): squared, over the squares.

    `options` are those of `quantize`. After `seconds` no further layer is looked at, from the input on.
    """
    began = time.monotonic()
    cut = replace(plan, graph=_cut(plan, work / "ends.onnx"))
    expected = _answers(cut.graph, photos.input, tensors)
    errors: dict[str, float] = {}
    for layer in plan.layers:
        if errors and time.monotonic() - began > seconds:
            break
        quantize(cut, photos, work / "layer.onnx", [layer], **options)
        found = _answers(work / "layer.onnx", photos.input, tensors)
        errors[layer] = sum(
            float(np.square(new - old).sum() / max(np.square(old).sum(), np.finfo(np.float32).tiny))
            for new, old in zip(found, expected, strict=True)
        )
    return errors


def _cut(plan: Plan, out: Path) -> Path:
    """Write the graph up to the last layers, before a softmax that makes all sure answers alike."""
    model = onnx.load(str(plan.graph))
    shapes = {value.name: value for value in (*model.graph.value_info, *model.graph.output)}
    del model.graph.output[:]
    model.graph.output.extend(shapes[name] for name in plan.ends)
    onnx.save(model, str(out))
    return out


def _answers(graph: Path, name: str, tensors: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    session = onnxruntime.InferenceSession(str(graph), options, ["CPUExecutionProvider"], disabled_optimizers=_WITHOUT)
    rows = [session.run(None, {name: tensor[np.newaxis]}) for tensor in tensors]
    return [np.concatenate(outputs) for outputs in zip(*rows, strict=True)]
