"""Some updates of image-classification-tensorflow on drawn pictures, on any devices."""

import time

import numpy as np
import tensorflow as tf

from train.gpu_check.comparison import PICTURES, SIDE, UPDATES, Place, Run, Training, pictures
from train.image_classification_tensorflow import hyperparameters, network
from train.job.devices import Device
from train.keras.step import Step

# Tiny steps: in this network differences of rounding grow with each one, at 0.0002 to 8e-3 in 20.
_GIVEN = {"num_classes": "2", "alpha": "0.35", "optimizer": "sgd", "learning_rate": "0.000002", "dropout": "0"}


def gpus() -> list[Device]:
    """Return the GPUs that TensorFlow sees, of which it is to round no product of float32 to TF32."""
    tf.config.experimental.enable_tensor_float_32_execution(False)
    return [Device("gpu", number) for number, _ in enumerate(tf.config.list_physical_devices("GPU"))]


def trainings() -> dict[str, Training]:
    """Return the training of the algorithm, by its name."""
    return {"image-classification-tensorflow": Training(_run, has_half=False)}


def _run(place: Place) -> Run:
    hp = hyperparameters.check({**_GIVEN, "image_shape": f"3,{SIDE},{SIDE}", "mini_batch_size": str(PICTURES)})
    names = [str(device) for device in place.devices]
    several = len(names) > 1
    with (tf.distribute.MirroredStrategy(names) if several else tf.distribute.OneDeviceStrategy(names[0])).scope():
        step = Step(network.build(hp).above, None, None, hp, UPDATES)
        # The same pictures for each device: then a device's loss, gradients and BatchNorm are those of one alone.
        pixels = np.concatenate([(pictures().transpose(0, 2, 3, 1) + 3) * 40] * len(names))
        labels = np.arange(len(pixels)) % 2
        losses = [step.read((pixels, labels), step(pixels, labels)).loss]
        began = time.monotonic()
        losses += [step.read((pixels, labels), step(pixels, labels)).loss for _ in range(UPDATES - 1)]
    rate = (UPDATES - 1) * len(pixels) / (time.monotonic() - began)
    on_gpus = place.devices[0].kind == "gpu"
    used = [tf.config.experimental.get_memory_info(name)["peak"] for name in names] if on_gpus else []
    return Run(losses, rate, max(used) / 1e6 if used else None)
