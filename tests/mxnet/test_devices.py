"""Training on a device other than the first, and on two devices. Two contexts of the CPU stand in for two GPUs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
import pytest
from mxnet import gluon

from tests import jobs
from tests.mxnet import contexts, detection, in_process, segmentation
from tests.mxnet.networks import pictures
from train.errors import UserError
from train.gluon import devices
from train.gluon.step import GluonStep
from train.image_classification import hyperparameters as classifiers
from train.image_classification import network as classifier
from train.image_classification import step as classification
from train.job.devices import Device
from train.object_detection import network as detector
from train.object_detection.step import Step as DetectionStep
from train.semantic_segmentation import network as segmenter
from train.semantic_segmentation.step import Step as SegmentationStep
from train.weights import native

ONE, TWO = [mx.cpu(0)], [mx.cpu(0), mx.cpu(1)]
UPDATES = 3
SLOW = {"optimizer": "nag", "learning_rate": 0.0003}
"""Small steps keep rounding differences small."""
Batch = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Training:
    """A network, its training step on some devices, and a batch of four pictures."""

    net: gluon.HybridBlock
    step: GluonStep[Any, Any]
    batch: Batch

    def losses(self, batch: Batch) -> list[float]:
        """Return the losses of some updates on one batch."""
        return [self.step.read(batch, self.step(*batch)).loss for _ in range(UPDATES)]


def freeze_statistics(net: gluon.Block) -> None:
    """Disable BatchNorm's batch statistics and dropout, so that a photo's prediction does not depend on its batch."""
    if isinstance(net, gluon.nn.BatchNorm):
        net._kwargs["use_global_stats"] = True
    if isinstance(net, gluon.nn.Dropout):
        net._rate = 0


def disable_dropout(net: gluon.Block) -> None:
    """Disable dropout, so that predictions are deterministic."""
    if isinstance(net, gluon.nn.Dropout):
        net._rate = 0


def classify(where: list[mx.Context], prepare: Callable[[gluon.Block], None]) -> Training:
    hp = classifiers.check(jobs.texts({"num_classes": 3, "num_training_samples": 8, "resize": 224, **SLOW}))
    net = classifier.build(20, 3, 3, 0).apply(prepare)
    devices.place(net, where)
    labels = np.array([0, 1, 2, 1])
    return Training(
        net, classification.Step(net, classification.loss_function(hp, labels), hp), (pictures(32, 4), labels)
    )


def classify_labels(where: list[mx.Context], prepare: Callable[[gluon.Block], None]) -> Training:
    values = {"num_classes": 3, "num_training_samples": 8, "resize": 224, "multi_label": 1, **SLOW}
    values["use_weighted_loss"] = 1
    hp = classifiers.check(jobs.texts(values))
    net = classifier.build(20, 3, 3, 0).apply(prepare)
    devices.place(net, where)
    labels = np.array([[0, 1, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0]], np.float32)
    return Training(
        net, classification.Step(net, classification.loss_function(hp, labels), hp), (pictures(32, 4), labels)
    )


def detect(where: list[mx.Context], prepare: Callable[[gluon.Block], None], base: str = "resnet-18") -> Training:
    net = detector.build(base, 2, 64, 0).apply(prepare)
    devices.place(net, where)
    step = DetectionStep(net, detection.hyperparameters(base_network=base, optimizer="sgd", learning_rate=0.001))
    return Training(net, step, detection.batch(64, detector.anchors(base, 64)))


def detect_by_vgg(where: list[mx.Context], prepare: Callable[[gluon.Block], None]) -> Training:
    return detect(where, lambda net: None, "vgg-16")


def segment(where: list[mx.Context], prepare: Callable[[gluon.Block], None]) -> Training:
    hp = segmentation.hyperparameters(crop_size=64, optimizer="sgd", learning_rate=0.0003, epochs=100)
    net = segmenter.build("fcn", "resnet-18", 3, 0).apply(prepare)
    devices.place(net, where)
    images, labels = segmentation.batch(64)
    labels[0, :40] = -1  # so that the pictures have different numbers of known pixels
    return Training(net, SegmentationStep(net, hp, 25), (images, labels))


TRAININGS = [classify, classify_labels, detect, detect_by_vgg, segment]
NORMALISED = [classify, detect, segment]


def doubled(batch: Batch) -> Batch:
    """Return the batch followed by a copy of itself."""
    return tuple(np.concatenate([array, array]) for array in batch)


# ---- two devices train like one ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "count"), [*((build, 3) for build in TRAININGS), *((build, 4) for build in NORMALISED)]
)
def test_two_devices_have_the_same_loss_curve_as_one_without_batchnorm(build: Any, count: int) -> None:
    curves = []
    for where in (ONE, TWO):
        training = build(where, freeze_statistics)
        curves.append(training.losses(tuple(array[:count] for array in training.batch)))
    assert curves[0][-1] < curves[0][0]
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-5)


@pytest.mark.parametrize("build", NORMALISED)
def test_with_batchnorm_two_devices_with_equal_pictures_train_like_one(build: Any) -> None:
    curves, statistics = [], []
    for where in (ONE, TWO):
        training = build(where, disable_dropout)
        curves.append(training.losses(doubled(training.batch)))
        training.step.end()
        mx.nd.waitall()
        statistics.append(np.concatenate([array.asnumpy() for array in running(training.net, where[-1])]))
    assert curves[0][-1] < curves[0][0]
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-3)  # normalisation increases small differences
    np.testing.assert_allclose(statistics[1], statistics[0], rtol=1e-2, atol=1e-4)


def running(net: gluon.Block, where: mx.Context) -> list[mx.nd.NDArray]:
    """Return BatchNorm's statistics on a device."""
    named = net.collect_params().items()
    return [value.data(where).flatten() for name, value in named if name.endswith(native.STATISTICS)]


@pytest.mark.parametrize("build", NORMALISED)
def test_devices_share_weights_and_average_their_statistics_at_the_end(build: Any) -> None:
    training = build(TWO, disable_dropout)
    training.losses(training.batch)
    mx.nd.waitall()
    before = [np.concatenate([array.asnumpy() for array in running(training.net, where)], axis=None) for where in TWO]
    training.step.end()
    after = [np.concatenate([array.asnumpy() for array in running(training.net, where)], axis=None) for where in TWO]
    assert not np.allclose(before[0], before[1])
    assert np.array_equal(after[0], after[1])
    np.testing.assert_allclose(after[0], (before[0] + before[1]) / 2, rtol=1e-5)
    for name, parameter in training.net.collect_params().items():
        first, second = (parameter.data(where).asnumpy() for where in TWO)
        assert np.array_equal(first, second), name


def test_training_on_two_devices_resumes_from_a_state() -> None:
    training, resumed = classify(TWO, disable_dropout), classify(TWO, disable_dropout)
    training.losses(training.batch)
    training.step.end()
    resumed.step.restore(training.step.state())
    assert resumed.losses(training.batch) == training.losses(training.batch)


def test_a_batch_is_split_into_parts_whose_sizes_differ_by_at_most_one() -> None:
    parts = devices.split(np.arange(5), [mx.cpu(0), mx.cpu(1), mx.cpu(2)])
    assert [part.asnumpy().tolist() for part in parts] == [[0, 1], [2, 3], [4]]
    assert [part.context for part in parts] == [mx.cpu(0), mx.cpu(1), mx.cpu(2)]


# ---- whole jobs -------------------------------------------------------------------------------------------------

JOBS = {
    "image-classification": (jobs.image_channels, jobs.HYPERPARAMETERS),
    "object-detection": (jobs.boxed_channels, jobs.DETECTION),
    "semantic-segmentation": (jobs.masked_channels, jobs.SEGMENTATION),
}
SMALL = {"num_training_samples": 9, "mini_batch_size": 5, "epochs": 1}


def run(algorithm: str, base: Path, names: str, monkeypatch: pytest.MonkeyPatch) -> jobs.Done:
    """Run a small job with this value of VISION_DEVICES."""
    lay_out, defaults = JOBS[algorithm]
    lay_out(base, 9, 4)
    jobs.configure(base, SMALL, defaults=defaults)
    monkeypatch.setenv("VISION_DEVICES", names)
    return in_process.run(base, algorithm)


@pytest.mark.parametrize(("names", "used"), [("cpu:1", [mx.cpu(1)]), ("cpu:0,cpu:1", TWO)], ids=["one", "two"])
@pytest.mark.parametrize("algorithm", JOBS)
def test_no_operator_of_a_job_has_inputs_on_several_devices(
    algorithm: str, names: str, used: Sequence[mx.Context], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contexts.watched() as seen:
        done = run(algorithm, tmp_path, names, monkeypatch)
    assert (done.code, done.failure) == (0, "")
    assert f"Training on {names.replace(',', ', ')}, as VISION_DEVICES says" in done.lines
    assert seen.mixed == []
    assert seen.contexts >= set(used)


def test_the_hook_detects_operators_and_graphs_with_inputs_on_several_devices() -> None:
    net = gluon.nn.Dense(2, in_units=2)
    net.initialize()
    net.hybridize()
    net(mx.nd.ones((1, 2)))
    with contexts.watched() as seen:
        mx.nd.ones((2,), ctx=mx.cpu(0)) + mx.nd.ones((2,), ctx=mx.cpu(1))
        with pytest.raises(mx.MXNetError, match="CachedOp requires all inputs to live on the same context"):
            net._cached_op(mx.nd.ones((1, 2), ctx=mx.cpu(1)), net.weight.data(), net.bias.data())
    assert seen.mixed == ["MXImperativeInvokeEx on cpu(0), cpu(1)", "MXInvokeCachedOpEx on cpu(0), cpu(1)"]


@pytest.mark.parametrize("algorithm", JOBS)
def test_the_files_of_a_job_can_be_read_without_its_devices(
    algorithm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = run(algorithm, tmp_path, "cpu:1", monkeypatch)
    files = [path for path in done.model.iterdir() if path.suffix == ".params" or path.name == "model_algo-1"]
    assert files
    for path in files:
        assert {array.context for array in mx.nd.load(str(path)).values()} == {mx.cpu(0)}


# ---- memory -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        "[10:00:00] src/storage/./pooled_storage_manager.h:161: cudaMalloc retry failed: out of memory",
        "Check failed: e == CUDNN_STATUS_SUCCESS (2 vs. 0) : cuDNN: CUDNN_STATUS_ALLOC_FAILED",
    ],
)
def test_a_full_gpu_is_a_user_error_that_names_mini_batch_size(message: str) -> None:
    two = devices.Devices([Device("cpu", 0), Device("cpu", 1)], 33)
    with pytest.raises(UserError) as raised, two.used():
        raise mx.MXNetError(message)
    assert str(raised.value).startswith(
        "the GPU ran out of memory with mini_batch_size=33, 17 on each of 2 GPUs: lower mini_batch_size"
    )
    assert raised.value.detail == message
    assert mx.current_context() == mx.cpu(0)


def test_other_errors_of_mxnet_are_not_changed() -> None:
    with pytest.raises(mx.MXNetError, match="shape"), devices.Devices([Device("cpu", 0)], 8).used():
        raise mx.MXNetError("Shape inconsistent: shape")


def test_a_job_on_a_full_gpu_exits_2_and_names_mini_batch_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> None:
        raise mx.MXNetError("cudaMalloc failed: out of memory")

    monkeypatch.setattr(classification.Step, "__call__", full)
    done = run("image-classification", tmp_path, "cpu:0", monkeypatch)
    assert done.code == 2
    assert done.failure.startswith("ClientError: the GPU ran out of memory with mini_batch_size=5: lower ")


def test_the_default_device_is_restored_after_nested_use() -> None:
    where = devices.Devices([Device("cpu", 1)], 8)
    with where.used(), where.used():
        assert mx.current_context() == mx.cpu(1)
    assert mx.current_context() == mx.cpu(0)
