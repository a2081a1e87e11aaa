"""The devices that a Keras job computes on: what TensorFlow may see of them, and batches in parts for them."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from train.job import devices
from train.job.devices import Build, Device


def choose(environ: Mapping[str, str], most: int, several_hosts: bool) -> tuple[Device, ...]:
    """Return the devices of this host, and let TensorFlow see no other GPU. Must come before it computes anything.

    Of several hosts each takes its GPUs, or its CPU once. Raises UserError for VISION_DEVICES that cannot be had.
    """
    gpus = tf.config.list_physical_devices("GPU")
    chosen = devices.choose(environ, Build("TensorFlow", tf.test.is_built_with_cuda(), len(gpus)), most)
    on_gpus = chosen[0].kind == "gpu"
    if gpus:
        tf.config.set_visible_devices([gpus[device.number] for device in chosen] if on_gpus else [], "GPU")
    if not on_gpus and several_hosts:
        return chosen[:1]
    if not on_gpus and len(chosen) > 1:
        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration() for _ in chosen])
    return chosen


def mirrored(chosen: Sequence[Device]) -> tf.distribute.Strategy:
    """Return the strategy of one host: TensorFlow's default one for one device."""
    if len(chosen) == 1:
        return tf.distribute.get_strategy()
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it tells of every collective operation
    return tf.distribute.MirroredStrategy([f"{device.kind}:{number}" for number, device in enumerate(chosen)])


def count() -> int:
    """Return how many devices of this host the current strategy computes on."""
    return len(tf.distribute.get_strategy().extended.worker_devices) if tf.distribute.has_strategy() else 1


def split(*arrays: NDArray[Any]) -> list[Any]:
    """Return each array (N, ...) as a tensor or, for several devices, as the parts of about N / devices for each.

    N is at least as many.
    """
    devices = count()
    if devices == 1:
        return [tf.convert_to_tensor(array) for array in arrays]
    place = tf.distribute.get_strategy().experimental_distribute_values_from_function
    parts = [iter(np.array_split(array, devices)) for array in arrays]
    return [place(lambda _, each=each: tf.convert_to_tensor(next(each))) for each in parts]


def local(values: Any) -> list[NDArray[Any]]:
    """Return what `strategy.run` returned on each device of this host."""
    found = tf.distribute.get_strategy().experimental_local_results(values)
    return [value.numpy() for value in found]


@contextmanager
def used(mini_batch_size: int, chosen: Sequence[Device]) -> Iterator[None]:
    """Train inside the block. Raises UserError when a GPU's memory does not suffice."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        if chosen[0].kind == "cpu":
            raise
        raise devices.out_of_memory(mini_batch_size, len(chosen), str(error)) from error
