"""Trains a small network on one of two hosts: `python -m tests.mxnet.two_hosts ALGORITHM RANK FILE`.

Writes the parameters to FILE. `in_one_process` returns the expected parameters.
"""

import sys
import threading
from collections.abc import Sequence
from typing import Any

import mxnet as mx
import numpy as np

from tests import jobs
from tests.mxnet import detection, segmentation
from tests.mxnet.networks import pictures
from train.gluon import hosts
from train.gluon.hosts import Exchange
from train.gluon.step import GluonStep
from train.image_classification import hyperparameters as classification
from train.image_classification import network as classifier
from train.image_classification import step as classifying
from train.job import peers, stop
from train.job.cluster import Hosts
from train.object_detection import network as detector
from train.object_detection.step import Step as DetectionStep
from train.semantic_segmentation import network as segmenter
from train.semantic_segmentation.step import Step as SegmentationStep

STEPS = 20
SLOW = {"optimizer": "sgd", "learning_rate": 0.0003}
"""Small steps keep rounding differences small."""
Parameters = dict[str, np.ndarray]
Learning = tuple[GluonStep[Any, Any], tuple[np.ndarray, ...]]


def classify(exchange: Exchange) -> Learning:
    values = {"num_classes": 3, "num_training_samples": 8, "num_layers": 18, "image_shape": "3,64,64", "resize": 64}
    hp = classification.check(jobs.texts(values | SLOW))
    net = classifier.build(18, 3, 3, 0)
    labels = np.array([0, 1, 2, 1])
    return classifying.Step(net, classifying.loss_function(hp, labels), hp, exchange=exchange), (
        pictures(64, 4),
        labels,
    )


def detect(exchange: Exchange) -> Learning:
    hp = detection.hyperparameters(image_shape=64, **SLOW)
    net = detector.build(hp.base_network, 2, 64, 0)
    return DetectionStep(net, hp, exchange), detection.batch(64, detector.anchors(hp.base_network, 64))


def segment(exchange: Exchange) -> Learning:
    hp = segmentation.hyperparameters(base_size=64, crop_size=64, **SLOW)
    net = segmenter.build("fcn", hp.backbone, 3, 0)
    return SegmentationStep(net, hp, STEPS, exchange=exchange), segmentation.batch(64)


ALGORITHMS = {"image-classification": classify, "object-detection": detect, "semantic-segmentation": segment}


def train(algorithm: str, rank: int, exchange: Exchange) -> Parameters:
    """Train as host `rank` on its batches, and return the parameters by their structural names."""
    step, batch = ALGORITHMS[algorithm](exchange)
    step.begin(0)
    for number in range(STEPS):
        rolled = [np.roll(array, rank + 2 * number, axis=0) for array in batch]
        rolled[0] = rolled[0] * np.float32(1 + 0.5 * rank)
        step.read(tuple(rolled), step(*rolled))
    step.end()
    return step.state()["parameters"]


def in_one_process(algorithm: str) -> list[Parameters]:
    """Train both hosts in two threads that average their arrays with NumPy."""
    barrier, values = threading.Barrier(2), [[], []]

    class Averaging(Exchange):
        hosts = 2

        def __init__(self, rank: int) -> None:
            self._rank = rank

        def average(self, arrays: Sequence[Sequence[mx.nd.NDArray]]) -> None:
            values[self._rank] = [copies[0].asnumpy() for copies in arrays]
            barrier.wait()
            means = [(first + second) / 2 for first, second in zip(*values, strict=True)]
            barrier.wait()
            for copies, mean in zip(arrays, means, strict=True):
                copies[0][:] = mean

    parameters: list[Parameters] = [{}, {}]

    def run(rank: int) -> None:
        parameters[rank] = train(algorithm, rank, Averaging(rank))

    threads = [threading.Thread(target=run, args=[rank]) for rank in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return parameters


def main(name: str, rank: int, file: str) -> None:
    """Train as one host of two."""
    with peers.connected(Hosts(jobs.HOSTS, jobs.HOSTS[rank])) as connected:
        np.savez(file, **train(name, rank, hosts.connect(connected)))
        connected.gather(b"")


if __name__ == "__main__":
    code = 1
    try:
        main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
        code = 0
    finally:
        stop.end(code)  # even if MXNet still waits for the other host
