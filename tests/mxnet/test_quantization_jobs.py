"""Jobs with quantize=int8 for each MXNet algorithm: logs, files and model.json."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serve import artifact
from serve.artifact import INT8, MODEL_INT8, MODEL_ONNX
from tests import jobs
from tests.mxnet import in_process

ALGORITHMS: dict[str, tuple[Callable[[Path], Path], dict[str, Any], int, str]] = {
    "image-classification": (
        jobs.image_channels,
        jobs.HYPERPARAMETERS | {"epochs": 4},
        30,
        "same predictions where float",
    ),
    "object-detection": (jobs.boxed_channels, jobs.DETECTION | {"epochs": 6}, 12, "boxes found again"),
    "semantic-segmentation": (jobs.masked_channels, jobs.SEGMENTATION | {"epochs": 2}, 12, "same pixels"),
}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_job_with_quantize_int8_writes_both_graphs_and_logs_the_comparison(name: str, tmp_path: Path) -> None:
    channels, hyperparameters, photos, compared = ALGORITHMS[name]
    jobs.configure(channels(tmp_path), {"quantize": "int8"}, defaults=hyperparameters)
    done = in_process.run(tmp_path, name)
    assert (done.code, done.failure) == (0, "")
    described = artifact.read(done.model)
    assert described.hyperparameters["quantize"] == "int8"
    assert described.quantization.serves == INT8
    trial = described.quantization.report["tries"][-1]
    assert trial["score"]["photos"] == photos
    assert {(done.model / file).exists() for file in (MODEL_ONNX, MODEL_INT8)} == {True}
    assert f"int8 is also compared on {50 - photos} further images, without ground truth" in done.lines
    (line,) = [line for line in done.lines if line.startswith("int8 compared with float: validation score ")]
    assert compared in line
    assert (
        "int8 is accepted: model.int8.onnx will be served; set VISION_PRECISION=float32 to serve model.onnx"
        in done.lines
    )
