"""The devices of a Keras job: make them visible to TensorFlow, and split batches across them."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from train.job import devices
from train.job.devices import Build, Device


def choose(environ: Mapping[str, str], limit: int, several_hosts: bool) -> tuple[Device, ...]:
    """Return this host's devices, and hide all other GPUs from TensorFlow. Call this before TensorFlow is used.

    With several hosts, each uses its GPUs or a single CPU device. Raises UserError if VISION_DEVICES is invalid or not
    available.
    """
    gpus = tf.config.list_physical_devices("GPU")
    chosen = devices.choose(environ, Build("TensorFlow", tf.test.is_built_with_cuda(), len(gpus)), limit)
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
    """Return the strategy for a single host: TensorFlow's default strategy if there is one device."""
    if len(chosen) == 1:
        return tf.distribute.get_strategy()
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # TensorFlow logs every collective operation
    return tf.distribute.MirroredStrategy([f"{device.kind}:{number}" for number, device in enumerate(chosen)])


def count() -> int:
    """Return the number of devices that the current strategy uses on this host."""
    return len(tf.distribute.get_strategy().extended.worker_devices) if tf.distribute.has_strategy() else 1


def split(*arrays: NDArray[Any]) -> list[Any]:
    """Return each array (N, ...) as a tensor, or split into parts of nearly equal size, one per device.

    N must be at least the number of devices.
    """
    devices = count()
    if devices == 1:
        return [tf.convert_to_tensor(array) for array in arrays]
    place = tf.distribute.get_strategy().experimental_distribute_values_from_function
    parts = [iter(np.array_split(array, devices)) for array in arrays]
    return [place(lambda _, iterator=iterator: tf.convert_to_tensor(next(iterator))) for iterator in parts]


def local(values: Any) -> list[NDArray[Any]]:
    """Return the result of `strategy.run` on each device of this host."""
    results = tf.distribute.get_strategy().experimental_local_results(values)
    return [value.numpy() for value in results]


@contextmanager
def used(mini_batch_size: int, chosen: Sequence[Device]) -> Iterator[None]:
    """Raise UserError if a GPU runs out of memory in the block."""
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        if chosen[0].kind == "cpu":
            raise
        raise devices.out_of_memory(mini_batch_size, len(chosen), str(error)) from error
