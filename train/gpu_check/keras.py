"""Train image-classification-tensorflow for a few updates on generated pictures, on any devices."""

import time
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from train.gpu_check.comparison import MAX_DEVICES, PICTURES, SIDE, UPDATES, Place, Run, Training, pictures
from train.image_classification_tensorflow import hyperparameters, network
from train.job.devices import CPU, Device
from train.keras import devices
from train.keras.step import Step

# A tiny learning rate, because rounding differences grow with each step: with 0.0002, they reach 8e-3 in 20 steps.
_HYPERPARAMETERS = {
    "num_classes": "2",
    "alpha": "0.35",
    "optimizer": "sgd",
    "learning_rate": "0.000002",
    "dropout": "0",
}


def prepare(environ: Mapping[str, str]) -> tuple[Sequence[Device], dict[str, Training]]:
    """Return the devices of a job, and a Training for the algorithm, by name. Disables TF32.

    Raises UserError if VISION_DEVICES is invalid or not available.
    """
    tf.config.experimental.enable_tensor_float_32_execution(False)
    chosen = devices.choose(environ, MAX_DEVICES, several_hosts=False)
    # TensorFlow numbers the visible devices from 0.
    names = {CPU: "cpu:0"} | {device: f"{device.kind}:{number}" for number, device in enumerate(chosen)}
    training = Training(lambda place: _run(place, [names[device] for device in place.devices]), has_half=False)
    return chosen, {"image-classification-tensorflow": training}


def _run(place: Place, names: Sequence[str]) -> Run:
    hp = hyperparameters.check(
        {**_HYPERPARAMETERS, "image_shape": f"3,{SIDE},{SIDE}", "mini_batch_size": str(PICTURES)}
    )
    first, *others = names
    with (tf.distribute.MirroredStrategy(names) if others else tf.distribute.OneDeviceStrategy(first)).scope():
        step = Step(network.build(hp).above, None, None, hp, UPDATES)
        # Each device gets the same pictures, so that its loss, gradients and BatchNorm are those of a single device.
        pixels = np.concatenate([(pictures().transpose(0, 2, 3, 1) + 3) * 40] * len(names))
        labels = np.arange(len(pixels)) % 2
        losses = [step.read((pixels, labels), step(pixels, labels)).loss]
        start = time.monotonic()
        losses += [step.read((pixels, labels), step(pixels, labels)).loss for _ in range(UPDATES - 1)]
    rate = (UPDATES - 1) * len(pixels) / (time.monotonic() - start)
    on_gpus = place.devices[0].kind == "gpu"
    used = [tf.config.experimental.get_memory_info(name)["peak"] for name in names] if on_gpus else []
    return Run(losses, rate, max(used) / 1e6 if used else None)
