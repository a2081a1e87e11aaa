"""Training on several devices of one host. Two logical devices of the CPU stand in for two GPUs.

TensorFlow configures its devices once per process, before it computes. So each configuration runs in a new process.
"""

import json
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.tensorflow import small
from tests.tensorflow.test_job import SMALL, class_folders
from train.errors import UserError
from train.gpu_check import keras as gpu_check
from train.gpu_check.comparison import compare
from train.image_classification_tensorflow import job, network
from train.job import training
from train.job.cluster import Hosts
from train.job.devices import Device
from train.keras import devices, hosts
from train.keras.step import Step

ONE, TWO = "cpu", "cpu:0,cpu:1"
UPDATES = 4
# For each case: the trained layers, the batch size, and whether the second half of a batch repeats the first half.
CASES = {"even": ("head", 8, False), "uneven": ("head", 7, False), "normalised": (1, 8, True)}


def curves(names: str) -> dict[str, Any]:
    """Return losses, accuracies and final weights of some updates of each case on these devices."""
    chosen = devices.choose({"VISION_DEVICES": names}, 8, several_hosts=False)
    strategy = hosts.strategy(Hosts(("algo-1",), "algo-1"), chosen)
    with strategy.scope():
        by_case = {name: _curve(*case) for name, case in CASES.items()}
        return {"devices": devices.count(), "hosts": hosts.count(), **by_case}


def _curve(layers: str | int, count: int, twice: bool) -> dict[str, Any]:
    hp = small.hyperparameters(
        train_layers=layers, dropout=0, optimizer="sgd", learning_rate=0.001, mini_batch_size=count, use_weighted_loss=1
    )
    net = network.build(hp)
    images = small.photos(count).astype(np.float32)
    labels = np.arange(count) % 3
    if twice:
        images[count // 2 :], labels[count // 2 :] = images[: count // 2], labels[: count // 2]
    below = None if net.below is None else lambda pixels: net.below(pixels, training=False)
    step = Step(net.above, below, np.array([1, 2, 0.5], np.float32), hp, 1)
    measured = [step.read((images, labels), step(images, labels)) for _ in range(UPDATES)]
    return {
        "losses": [result.loss for result in measured],
        "values": [result.values["accuracy"].shape for result in measured],
        "kernel": net.model.get_layer("logits").kernel.numpy(),
    }


@pytest.fixture(scope="module")
def results() -> Iterator[dict[str, dict[str, Any]]]:
    """The results of `curves` on one device and on two."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        running = {names: pool.submit(curves, names) for names in (ONE, TWO)}
        yield {names: future.result() for names, future in running.items()}


def test_the_devices_that_the_user_names_count_as_one_host(results: dict[str, dict[str, Any]]) -> None:
    assert [(results[names]["devices"], results[names]["hosts"]) for names in (ONE, TWO)] == [(1, 1), (2, 1)]


@pytest.mark.parametrize("case", ["even", "uneven"])
def test_two_devices_have_the_same_loss_curve_as_one_without_batchnorm(
    case: str, results: dict[str, dict[str, Any]]
) -> None:
    one, two = results[ONE][case], results[TWO][case]
    assert one["losses"][-1] < one["losses"][0]
    np.testing.assert_allclose(two["losses"], one["losses"], rtol=1e-5)
    np.testing.assert_allclose(two["kernel"], one["kernel"], rtol=1e-4, atol=1e-6)
    assert two["values"] == one["values"] == [(CASES[case][1],)] * UPDATES


def test_with_batchnorm_two_devices_with_equal_pictures_train_like_one(results: dict[str, dict[str, Any]]) -> None:
    one, two = results[ONE]["normalised"], results[TWO]["normalised"]
    assert one["losses"][-1] < one["losses"][0]
    np.testing.assert_allclose(two["losses"], one["losses"], rtol=1e-3)


def _job(base: Path) -> tuple[list[str], dict[str, float]]:
    """Run a job under `base` on two devices, and return the names of the model's files and its metrics."""
    class_folders(base, 18, 6)
    (base / "input" / "config").mkdir()
    (base / "input" / "config" / "inputdataconfig.json").write_text('{"training": {}}')
    texts = {name: str(value) for name, value in {**SMALL, "batch_size": 5, "train_layers": 2}.items()}
    training.run(job.ALGORITHM, base, texts, {"VISION_DEVICES": TWO})
    described = json.loads((base / "model" / "model.json").read_text())
    return sorted(path.name for path in (base / "model").iterdir()), described["metrics"]


def test_a_whole_job_on_two_devices_writes_a_checked_model(tmp_path: Path) -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        files, metrics = pool.submit(_job, tmp_path).result()
    assert files == ["model.json", "model.keras", "model.onnx"]
    assert metrics["epoch"] == 0


def test_a_full_gpu_is_a_user_error_that_names_mini_batch_size() -> None:
    full = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[64,112,112,96]")
    two = devices.used(64, [Device("gpu", 0), Device("gpu", 1)])
    with pytest.raises(UserError, match="mini_batch_size=64, 32 on each of 2 GPUs: lower") as raised, two:
        raise full
    assert "shape[64,112,112,96]" in raised.value.detail
    with pytest.raises(tf.errors.ResourceExhaustedError), devices.used(64, [Device("cpu", 0)]):
        raise full


class HalfGradients(keras.optimizers.SGD):
    """SGD that halves the gradients on the second device."""

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        super().update_step(gradient / 2 if variable.device.endswith("CPU:1") else gradient, variable, learning_rate)


def _checked() -> list[dict[str, bool]]:
    """Return whether gpu-check's updates agree with the CPU's, by device: for two devices, and for a broken one."""
    chosen, trainings = gpu_check.prepare({"VISION_DEVICES": TWO})
    tables = [compare(trainings, chosen)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.optimizers, "SGD", HalfGradients)
        tables.append(compare(trainings, chosen[1:]))
    return [{str(row.place): row.passed for row in rows} for rows in tables]


def test_gpu_check_passes_two_devices_and_fails_a_device_that_computes_wrong_numbers() -> None:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        right, wrong = pool.submit(_checked).result()
    assert right == {"cpu:0": True, "cpu:1": True, "cpu:0,cpu:1": True}
    assert wrong == {"cpu:0": True, "cpu:1": False}
