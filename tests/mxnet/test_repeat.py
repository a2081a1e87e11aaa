"""Reproducibility: the same seed gives bit-identical updates, even with several threads per operator."""

import hashlib
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd, gluon

from tests import jobs
from train.gluon import optimizer
from train.image_classification import network as classifiers
from train.semantic_segmentation import network as segmenters
from train.semantic_segmentation import step as segmentation
from train.semantic_segmentation.enlarge import enlarge


@pytest.fixture(scope="module")
def threads() -> Iterator[Callable[..., Any]]:
    """`threads(function, *args)` calls the function in a process with more operator threads than processors.

    The threads then finish in any order. MXNet reads their number on import, so this needs a new process.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "4")
        patch.setenv("OMP_WAIT_POLICY", "PASSIVE")
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            yield lambda function, *args: pool.submit(function, *args).result()


def digest(*arrays: mx.nd.NDArray) -> str:
    """Return a hash of the arrays' bits."""
    return hashlib.sha256(b"".join(array.asnumpy().tobytes() for array in arrays)).hexdigest()


def classifier(name: str, options: dict[str, float]) -> str:
    """Return a hash of a small classifier's parameters after three updates without synchronization."""
    rng = np.random.default_rng(0)
    pictures, labels = mx.nd.array(rng.normal(size=(8, 3, 32, 32))), mx.nd.array(rng.integers(0, 3, 8))
    net = classifiers.build(20, 3, 3, 0)
    net.hybridize(static_alloc=True, static_shape=True)
    loss = gluon.loss.SoftmaxCrossEntropyLoss()
    trainer = optimizer.trainer(net, optimizer.create(name, learning_rate=0.01, wd=1e-4, **options))
    for _ in range(3):
        with autograd.record():
            value = loss(net(pictures), labels)
        value.backward()
        trainer.step(len(labels))
    return digest(*(parameter.data() for parameter in net.collect_params().values()))


@pytest.mark.parametrize(
    ("name", "options"),
    [("sgd", {"momentum": 0.9}), ("nag", {"momentum": 0.9}), ("nag", {"momentum": 0.0}), ("adam", {}), ("rmsprop", {})],
)
def test_updates_of_each_optimizer_repeat(threads: Callable[..., Any], name: str, options: dict[str, float]) -> None:
    assert len({threads(classifier, name, options) for _ in range(3)}) == 1


def test_nag_implements_nesterov_momentum() -> None:
    """Sutskever et al. 2013, equations 3 and 4, in the form of Bengio et al. 2012 that MXNet documents."""
    rate, momentum, decay = 0.1, 0.9, 0.01
    rng = np.random.default_rng(0)
    weight = mx.nd.array(rng.normal(size=7))
    expected, velocity = weight.asnumpy().astype(np.float64), np.zeros(7)
    update = mx.optimizer.get_updater(optimizer.create("nag", learning_rate=rate, momentum=momentum, wd=decay))
    for _ in range(4):
        gradient = rng.normal(size=7)
        update(0, mx.nd.array(gradient), weight)
        gradient = gradient + decay * expected
        velocity = momentum * velocity - rate * gradient
        expected = expected + momentum * velocity - rate * gradient
    np.testing.assert_allclose(weight.asnumpy(), expected, rtol=1e-5)


def gradients(algorithm: str, backbone: str) -> set[str]:
    """Compute the gradients of one loss four times, and return the hashes."""
    rng = np.random.default_rng(0)
    pictures, classes = mx.nd.array(rng.normal(size=(4, 3, 64, 64))), mx.nd.array(rng.integers(-1, 3, (4, 64, 64)))
    net = segmenters.build(algorithm, backbone, 3, 0)
    objective = segmentation.Objective(net, 64)
    objective.hybridize(static_alloc=True, static_shape=True)
    hashes = set()
    for _ in range(4):
        mx.random.seed(0)  # dropout
        with autograd.record():
            loss = objective(pictures, classes)
        loss.backward()
        trained = [parameter for parameter in net.collect_params().values() if parameter.grad_req != "null"]
        hashes.add(digest(*(parameter.grad() for parameter in trained)))
    return hashes


@pytest.mark.parametrize(
    ("algorithm", "backbone"), [("fcn", "resnet-18"), ("psp", "resnet-50"), ("deeplab", "resnet-50")]
)
def test_gradients_of_each_segmenter_repeat(threads: Callable[..., Any], algorithm: str, backbone: str) -> None:
    assert len(threads(gradients, algorithm, backbone)) == 1


class Enlarged(gluon.HybridBlock):
    """Wraps `enlarge` as part of a compiled graph."""

    def __init__(self, side: int, align_corners: bool) -> None:
        super().__init__()
        self._options = (side, align_corners)

    def hybrid_forward(self, F: object, x: mx.nd.NDArray) -> mx.nd.NDArray:
        return enlarge(F, x, *self._options)


SIZES = [((8, 3, 8, 8), 64, False), ((2, 3, 8, 5), 64, False), ((2, 5, 6, 6), 30, True), ((2, 5, 1, 1), 30, True)]


def enlarged_gradients(shape: tuple[int, ...], side: int, align_corners: bool) -> set[str]:
    """Compute the gradients of enlarged maps 40 times, and return the hashes."""
    rng = np.random.default_rng(0)
    maps, above = mx.nd.array(rng.normal(size=shape)), mx.nd.array(rng.normal(size=(*shape[:2], side, side)))
    maps.attach_grad()
    block = Enlarged(side, align_corners)
    block.hybridize(static_alloc=True, static_shape=True)
    hashes = set()
    for _ in range(40):
        with autograd.record():
            enlarged = block(maps)
        enlarged.backward(above)
        hashes.add(digest(maps.grad))
    return hashes


@pytest.mark.parametrize(("shape", "side", "align_corners"), SIZES)
def test_gradients_of_enlarged_maps_repeat(
    threads: Callable[..., Any], shape: tuple[int, ...], side: int, align_corners: bool
) -> None:
    assert len(threads(enlarged_gradients, shape, side, align_corners)) == 1


@pytest.mark.parametrize(("shape", "side", "align_corners"), SIZES)
def test_enlarged_maps_and_gradients_match_mxnets(shape: tuple[int, ...], side: int, align_corners: bool) -> None:
    rng = np.random.default_rng(0)
    maps, above = mx.nd.array(rng.normal(size=shape)), mx.nd.array(rng.normal(size=(*shape[:2], side, side)))
    maps.attach_grad()
    with autograd.record():
        ours = enlarge(mx.nd, maps, side, align_corners)
    ours.backward(above)
    gradient = maps.grad.asnumpy()
    with autograd.record():
        theirs = mx.nd.contrib.BilinearResize2D(maps, height=side, width=side, align_corners=align_corners)
    theirs.backward(above)
    np.testing.assert_allclose(ours.asnumpy(), theirs.asnumpy(), atol=1e-5)
    np.testing.assert_allclose(gradient, maps.grad.asnumpy(), atol=1e-3)


JOBS = {
    "image-classification": (jobs.image_channels, {**jobs.HYPERPARAMETERS, "epochs": 1}),
    "object-detection": (jobs.boxed_channels, {**jobs.DETECTION, "epochs": 1}),
    "semantic-segmentation": (jobs.masked_channels, jobs.SEGMENTATION),
}


@pytest.mark.parametrize("algorithm", JOBS)
def test_two_jobs_with_the_same_seed_write_the_same_model(algorithm: str, tmp_path: Path) -> None:
    channels, hyperparameters = JOBS[algorithm]
    models = []
    for name in ("one", "two"):
        base = channels(tmp_path / name)
        jobs.configure(base, {}, defaults=hyperparameters)
        done = jobs.run(base, environ={"VISION_ALGORITHM": algorithm, "OMP_NUM_THREADS": "2"})
        assert done.code == 0
        models.append((done.model / "model.onnx").read_bytes())
    assert models[0] == models[1]
