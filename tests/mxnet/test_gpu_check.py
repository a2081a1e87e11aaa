"""gpu-check with a second context of the CPU in the place of a GPU: one that computes rightly, one that does not."""

from collections.abc import Sequence
from typing import Any

import mxnet as mx
import numpy as np
import pytest

from tests.environments import REPOSITORY
from train.gluon import devices
from train.gpu_check import __main__ as program
from train.gpu_check import comparison, gluon
from train.job.devices import Device

SECOND = Device("cpu", 1)
BOTH = [Device("cpu", 0), SECOND]


@pytest.fixture
def on_the_second_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let gpu-check take the CPU's second context for a GPU; there is no float16 for it."""
    monkeypatch.setattr(gluon, "gpus", lambda: [SECOND])
    whole = gluon.trainings()
    exact = {name: comparison.Training(each.train, has_half=False) for name, each in whole.items()}
    monkeypatch.setattr(gluon, "trainings", lambda: exact)
    monkeypatch.setenv("VISION_ALGORITHM", "object-detection")


@pytest.mark.usefixtures("on_the_second_context")
def test_a_device_that_computes_as_the_cpu_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "gpu-check: passed: 6 of 6 runs agree"
    assert [line.split(" | ")[0] for line in lines if "cpu:1" in line] == [
        f"| {name}" for name in ("image-classification", "object-detection", "semantic-segmentation")
    ]


@pytest.mark.usefixtures("on_the_second_context")
def test_a_device_that_computes_wrong_numbers_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    split = devices.split

    def faulty(batch: np.ndarray, contexts: Sequence[mx.Context]) -> list[Any]:
        """Let the pixels that the second context gets be off by a twentieth, some up and some down.

        Off by one factor they would all be right again after the first BatchNorm.
        """
        noise = np.random.default_rng(0).normal(1, 0.05, batch.shape)
        wrong = (batch * noise).astype(np.float32) if batch.shape[1:] == (3, 64, 64) else batch
        return split(wrong if contexts[0] == mx.cpu(1) else batch, contexts)

    monkeypatch.setattr(devices, "split", faulty)
    assert program.main([]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert sum("**failed**" in line for line in lines) == 3
    assert lines[-1] == "gpu-check: failed: 3 of 6 runs agree"


def test_devices_together_are_compared_with_one() -> None:
    training = gluon.trainings()["image-classification"]
    (reference, both) = (training.train(comparison.Place(where)) for where in ((BOTH[0],), tuple(BOTH)))
    np.testing.assert_allclose(both.losses, reference.losses, rtol=comparison.LIMIT)
    assert reference.losses[-1] < reference.losses[0]
    assert len(reference.losses) == comparison.UPDATES


def test_without_a_gpu_the_exit_code_is_3(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("VISION_ALGORITHM", "image-classification")
    assert program.main([]) == 3
    assert capsys.readouterr().out == "gpu-check: there is no GPU that this image can use, so nothing is checked\n"


def test_the_images_program_is_this_module() -> None:
    assert "python -m train.gpu_check" in (REPOSITORY / "containers" / "bin" / "gpu-check").read_text()
