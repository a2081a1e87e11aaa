"""gpu-check with a second CPU context in place of a GPU, computing correctly or incorrectly."""

from collections.abc import Callable, Sequence
from typing import Any

import mxnet as mx
import numpy as np
import pytest
from mxnet import gluon

from serve import __version__
from tests.environments import REPOSITORY
from train.gluon import devices
from train.gpu_check import __main__ as program
from train.gpu_check import comparison
from train.gpu_check.comparison import compare
from train.gpu_check.gluon import prepare
from train.job import cuda
from train.job.cuda import Gpu
from train.job.devices import CPU, Device

ALGORITHMS = ("image-classification", "object-detection", "semantic-segmentation")
Check = Callable[[str], tuple[int, list[str]]]


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Check:
    """`check(devices)` runs gpu-check with this VISION_DEVICES and returns the exit code and the report's lines."""

    def run(names: str) -> tuple[int, list[str]]:
        monkeypatch.setenv("VISION_ALGORITHM", "object-detection")
        monkeypatch.setenv("VISION_DEVICES", names)
        code = program.main([])
        return code, [line for line in capsys.readouterr().out.splitlines() if line.startswith(("|", "gpu"))]

    return run


def test_a_device_that_computes_like_the_cpu_passes(check: Check) -> None:
    code, lines = check("cpu:1")
    assert code == 0
    assert lines[-1] == "gpu-check: passed: 6 of 6 runs agree"
    cells = [line.split(" | ")[:2] for line in lines[3:-1]]
    assert cells == [[f"| {name}", device] for name in ALGORITHMS for device in ("cpu:0", "cpu:1")]


def wrong_pixels(patch: pytest.MonkeyPatch) -> None:
    """Change the pixels on the second context by about 5 % at random.

    The first BatchNorm would undo a constant factor.
    """
    split = devices.split

    def faulty(batch: np.ndarray, contexts: Sequence[mx.Context]) -> list[mx.nd.NDArray]:
        noise = np.random.default_rng(0).normal(1, 0.05, batch.shape)
        wrong = (batch * noise).astype(np.float32) if batch.shape[1:] == (3, 64, 64) else batch
        return split(wrong if contexts[0] == mx.cpu(1) else batch, contexts)

    patch.setattr(devices, "split", faulty)


def wrong_gradients(patch: pytest.MonkeyPatch) -> None:
    """Make the gradients on the second context 10 % too small. The forward pass stays correct."""
    update = gluon.Trainer.update

    def faulty(self: gluon.Trainer, batch_size: int, **options: Any) -> None:
        trained = [parameter for parameter in self._params if parameter.grad_req != "null"]
        for gradient in (copy for parameter in trained for copy in parameter.list_grad()):
            if gradient.context == mx.cpu(1):
                gradient *= 0.9
        update(self, batch_size, **options)

    patch.setattr(gluon.Trainer, "update", faulty)


def test_a_device_that_computes_wrong_numbers_fails(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong_pixels(monkeypatch)
    code, lines = check("cpu:1")
    assert code == 1
    assert lines[-1] == "gpu-check: failed: 3 of 6 runs agree"
    assert ["**failed**" in line for line in lines[3:-1]] == [False, True] * 3


def test_a_device_with_only_wrong_gradients_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong_gradients(monkeypatch)
    chosen, trainings = prepare({"VISION_DEVICES": "cpu:1"})
    reference, row = compare({"image-classification": trainings["image-classification"]}, chosen)
    assert row.run is not None
    assert row.run.losses[0] == reference.run.losses[0]
    assert not row.passed


def test_all_devices_together_are_compared_with_one() -> None:
    chosen, trainings = prepare({"VISION_DEVICES": "cpu:0,cpu:1"})
    assert chosen == [CPU, Device("cpu", 1)]
    training = trainings["image-classification"]
    (reference, both) = (training.train(comparison.Place(tuple(where))) for where in (chosen[:1], chosen))
    np.testing.assert_allclose(both.losses, reference.losses, rtol=comparison.LIMIT)
    assert reference.losses[-1] < reference.losses[0]
    assert len(reference.losses) == comparison.UPDATES


def test_the_report_names_the_algorithm_the_version_and_the_gpus(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "compare", lambda trainings, chosen: [])
    monkeypatch.setattr(cuda, "gpus", lambda: [Gpu("Tesla T4", (7, 5)), Gpu("NVIDIA A10G", (8, 6))])
    assert check("cpu:1")[1][:3] == [
        f"gpu-check of object-detection {__version__}",
        "gpu:0 is Tesla T4, compute capability 7.5",
        "gpu:1 is NVIDIA A10G, compute capability 8.6",
    ]


def test_without_a_gpu_the_exit_code_is_3(check: Check) -> None:
    assert check("") == (3, ["gpu-check: there is no GPU that this image can use, so nothing is checked"])


def test_unavailable_devices_give_exit_code_2(check: Check) -> None:
    assert check("gpu:7") == (2, [])


def test_the_images_program_runs_this_module() -> None:
    assert "python -m train.gpu_check" in (REPOSITORY / "containers" / "bin" / "gpu-check").read_text()
