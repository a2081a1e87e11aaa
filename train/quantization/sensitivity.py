"""Find the layers that are most sensitive to quantization, by quantizing one layer at a time."""

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
# As in serve.engine.runtime: this optimizer would quantize the layers that must stay in float.
_DISABLED_OPTIMIZERS = ["WeightBiasQuantization"]


def worst(errors: Mapping[str, float]) -> list[str]:
    """Return the fewest layers that cause half of the total error, but at most a quarter of all layers (at least one).

    The worst layer comes first.
    """
    ranked = sorted(errors, key=lambda name: -errors[name])
    reached = np.cumsum([errors[name] for name in ranked]) >= _SHARE_OF_ERROR * sum(errors.values())
    return ranked[: min(int(np.argmax(reached)) + 1, max(1, int(_SHARE_OF_LAYERS * len(ranked))))]


def scan(
    plan: Plan, photos: Photos, tensors: Sequence[NDArray[np.float32]], work: Path, seconds: float, **options: Any
) -> dict[str, float]:
    """Return the error that each layer causes in the last layers' outputs for `tensors` (C, H, W).

    The error is the sum of squared differences over the sum of squares. `options` are those of `quantize`. The scan
    proceeds from the input to the output, and skips the remaining layers after `seconds`.
    """
    start = time.monotonic()
    cut = replace(plan, graph=_cut(plan, work / "ends.onnx"))
    expected = _outputs(cut.graph, photos.input, tensors)
    errors: dict[str, float] = {}
    for layer in plan.layers:
        if errors and time.monotonic() - start > seconds:
            break
        quantize(cut, photos, work / "layer.onnx", [layer], **options)
        outputs = _outputs(work / "layer.onnx", photos.input, tensors)
        errors[layer] = sum(
            float(np.square(new - old).sum() / max(np.square(old).sum(), np.finfo(np.float32).tiny))
            for new, old in zip(outputs, expected, strict=True)
        )
    return errors


def _cut(plan: Plan, out: Path) -> Path:
    """Write the graph up to the last layers, without the softmax, which hides differences in confident predictions."""
    model = onnx.load(str(plan.graph))
    shapes = {value.name: value for value in (*model.graph.value_info, *model.graph.output)}
    del model.graph.output[:]
    model.graph.output.extend(shapes[name] for name in plan.ends)
    onnx.save(model, str(out))
    return out


def _outputs(graph: Path, name: str, tensors: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    session = onnxruntime.InferenceSession(
        str(graph), options, ["CPUExecutionProvider"], disabled_optimizers=_DISABLED_OPTIMIZERS
    )
    rows = [session.run(None, {name: tensor[np.newaxis]}) for tensor in tensors]
    return [np.concatenate(outputs) for outputs in zip(*rows, strict=True)]
