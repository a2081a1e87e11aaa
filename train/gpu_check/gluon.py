"""Some updates of the MXNet algorithms on drawn pictures, on any devices."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import mxnet as mx
import numpy as np
from mxnet import gluon
from numpy.typing import NDArray

from train.gluon import devices
from train.gluon.step import GluonStep
from train.gpu_check.comparison import MOST_DEVICES, PICTURES, SIDE, UPDATES, Place, Run, Training, pictures
from train.image_classification import hyperparameters as classifier_hyperparameters
from train.image_classification import network as classifier
from train.image_classification.step import Step as ClassifierStep
from train.image_classification.step import loss_function
from train.job.devices import Device
from train.object_detection import hyperparameters as detector_hyperparameters
from train.object_detection import network as detector
from train.object_detection.step import Step as DetectorStep
from train.object_detection.targets import assign
from train.semantic_segmentation import hyperparameters as segmenter_hyperparameters
from train.semantic_segmentation import network as segmenter
from train.semantic_segmentation.step import Step as SegmenterStep

# Small steps: differences of rounding grow with each. Without oneDNN the losses are others by 2e-4 at most.
_RATE = {"learning_rate": "0.0002", "optimizer": "sgd", "use_pretrained_model": "0", "num_training_samples": "8"}

Begun = tuple[gluon.HybridBlock, Callable[[], GluonStep[Any, Any]], tuple[NDArray[Any], ...]]
"""A network on the CPU, what makes its step once it is in its place, and a batch."""


def begin(environ: Mapping[str, str]) -> tuple[Sequence[Device], dict[str, Training]]:
    """Return the devices of a job, and the trainings of all MXNet algorithms by name.

    Raises UserError for VISION_DEVICES that cannot be had.
    """
    chosen = [Device(each.device_type, each.device_id) for each in devices.choose(environ, MOST_DEVICES).contexts]
    return chosen, {
        "image-classification": Training(lambda place: _run(_classifier(place.half), place), has_half=True),
        "object-detection": Training(lambda place: _run(_detector(), place), has_half=False),
        "semantic-segmentation": Training(lambda place: _run(_segmenter(place.half), place), has_half=True),
    }


def _run(begun: Begun, place: Place) -> Run:
    net, begin, batch = begun
    where = [mx.Context(device.kind, device.number) for device in place.devices]
    devices.place(net, where)
    step = begin()
    # The same pictures for each device: then a device's loss, gradients and BatchNorm are those of one alone.
    shared = tuple(np.concatenate([array] * len(where)) for array in batch)
    step.begin(0)
    with where[0]:
        losses = [step.read(shared, step(*shared)).loss]
        began = time.monotonic()
        losses += [step.read(shared, step(*shared)).loss for _ in range(UPDATES - 1)]
        mx.nd.waitall()
    rate = (UPDATES - 1) * len(shared[0]) / (time.monotonic() - began)
    return Run(losses, rate, _megabytes(place.devices))


def _megabytes(used: tuple[Device, ...]) -> float | None:
    """Return the memory in use on the fullest of the GPUs."""
    if used[0].kind == "cpu":
        return None
    free_of_total = [mx.context.gpu_memory_info(device.number) for device in used]
    return float(max(total - free for free, total in free_of_total)) / 1e6


def _classifier(half: bool) -> Begun:
    hp = classifier_hyperparameters.check({**_RATE, "num_classes": "2", "resize": "224"})
    net = classifier.build(18, 2, 3, 0)
    labels = np.arange(PICTURES) % 2
    return net, lambda: ClassifierStep(net, loss_function(hp, labels), hp, half), (pictures(), labels)


def _detector() -> Begun:
    hp = detector_hyperparameters.check({**_RATE, "num_classes": "2", "base_network": "resnet-18"})
    net, anchors = detector.build("resnet-18", 2, SIDE, 0), detector.anchors("resnet-18", SIDE)
    boxes = [np.array([[n % 2, 0.1 + 0.05 * n, 0.2, 0.4 + 0.05 * n, 0.7]], np.float32) for n in range(PICTURES)]
    classes, offsets = zip(*(assign(anchors, each) for each in boxes), strict=True)
    return net, lambda: DetectorStep(net, hp), (pictures(), np.stack(classes), np.stack(offsets))


def _segmenter(half: bool) -> Begun:
    given = {"num_classes": "2", "backbone": "resnet-18", "crop_size": str(SIDE)}
    hp = segmenter_hyperparameters.check({**_RATE, **given})
    net = segmenter.build("fcn", "resnet-18", 2, 0)
    for layer in (net.head, net.auxlayer):  # dropout draws other numbers on each device
        layer.apply(_without_dropout)
    images = pictures()
    return net, lambda: SegmenterStep(net, hp, UPDATES, half), (images, (images[:, 0] > 0).astype(np.float32))


def _without_dropout(layer: gluon.Block) -> None:
    if isinstance(layer, gluon.nn.Dropout):
        layer._rate = 0
