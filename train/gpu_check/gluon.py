"""Train the MXNet algorithms for a few updates on generated pictures, on any devices."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import mxnet as mx
import numpy as np
from mxnet import gluon
from numpy.typing import NDArray

from train.gluon import devices
from train.gluon.step import GluonStep
from train.gpu_check.comparison import MAX_DEVICES, PICTURES, SIDE, UPDATES, Place, Run, Training, pictures
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

# A small learning rate, because rounding differences grow with each step. Losses without oneDNN differ by up to 2e-4.
_RATE = {"learning_rate": "0.0002", "optimizer": "sgd", "use_pretrained_model": "0", "num_training_samples": "8"}

Prepared = tuple[gluon.HybridBlock, Callable[[], GluonStep[Any, Any]], tuple[NDArray[Any], ...]]
"""A network on the CPU, a function that creates its step after the network is moved to its devices, and a batch."""


def prepare(environ: Mapping[str, str]) -> tuple[Sequence[Device], dict[str, Training]]:
    """Return the devices of a job, and a Training for each MXNet algorithm, by name.

    Raises UserError if VISION_DEVICES is invalid or not available.
    """
    contexts = devices.choose(environ, MAX_DEVICES).contexts
    chosen = [Device(context.device_type, context.device_id) for context in contexts]
    return chosen, {
        "image-classification": Training(lambda place: _run(_classifier(place.half), place), has_half=True),
        "object-detection": Training(lambda place: _run(_detector(), place), has_half=False),
        "semantic-segmentation": Training(lambda place: _run(_segmenter(place.half), place), has_half=True),
    }


def _run(prepared: Prepared, place: Place) -> Run:
    net, create_step, batch = prepared
    contexts = [mx.Context(device.kind, device.number) for device in place.devices]
    devices.place(net, contexts)
    step = create_step()
    # Each device gets the same pictures, so that its loss, gradients and BatchNorm are those of a single device.
    repeated = tuple(np.concatenate([array] * len(contexts)) for array in batch)
    step.begin(0)
    with contexts[0]:
        losses = [step.read(repeated, step(*repeated)).loss]
        start = time.monotonic()
        losses += [step.read(repeated, step(*repeated)).loss for _ in range(UPDATES - 1)]
        mx.nd.waitall()
    rate = (UPDATES - 1) * len(repeated[0]) / (time.monotonic() - start)
    return Run(losses, rate, _megabytes(place.devices))


def _megabytes(used: tuple[Device, ...]) -> float | None:
    """Return the largest amount of memory in use on any of the GPUs."""
    if used[0].kind == "cpu":
        return None
    free_of_total = [mx.context.gpu_memory_info(device.number) for device in used]
    return float(max(total - free for free, total in free_of_total)) / 1e6


def _classifier(half: bool) -> Prepared:
    hp = classifier_hyperparameters.check({**_RATE, "num_classes": "2", "resize": "224"})
    net = classifier.build(18, 2, 3, 0)
    labels = np.arange(PICTURES) % 2
    return net, lambda: ClassifierStep(net, loss_function(hp, labels), hp, half), (pictures(), labels)


def _detector() -> Prepared:
    hp = detector_hyperparameters.check({**_RATE, "num_classes": "2", "base_network": "resnet-18"})
    net, anchors = detector.build("resnet-18", 2, SIDE, 0), detector.anchors("resnet-18", SIDE)
    boxes = [np.array([[n % 2, 0.1 + 0.05 * n, 0.2, 0.4 + 0.05 * n, 0.7]], np.float32) for n in range(PICTURES)]
    classes, offsets = zip(*(assign(anchors, box) for box in boxes), strict=True)
    return net, lambda: DetectorStep(net, hp), (pictures(), np.stack(classes), np.stack(offsets))


def _segmenter(half: bool) -> Prepared:
    hp = segmenter_hyperparameters.check({**_RATE, "num_classes": "2", "backbone": "resnet-18", "crop_size": str(SIDE)})
    net = segmenter.build("fcn", "resnet-18", 2, 0)
    for layer in (net.head, net.auxlayer):  # dropout draws different numbers on each device
        layer.apply(_without_dropout)
    images = pictures()
    return net, lambda: SegmenterStep(net, hp, UPDATES, half), (images, (images[:, 0] > 0).astype(np.float32))


def _without_dropout(layer: gluon.Block) -> None:
    if isinstance(layer, gluon.nn.Dropout):
        layer._rate = 0
