"""Compares a typical Keras script with image-classification-tensorflow, on the same photos and weights.

    .venvs/tensorflow/bin/python -m benchmarks.keras_program --channels DIR --weights FILE    (from the root)

DIR is the output of `python3 -m local prepare image-classification-tensorflow`, and FILE is the model.keras of a job
that trained all layers. Both sides train a head on the frozen MobileNetV2 in FILE: 128 pixels, batches of 16, dropout
0.5, Adam. One side is a typical script: class folders through `ImageDataGenerator` (flip, zoom 0.8 to 1.2, rotation by
up to 20 degrees) into `fit`, one sigmoid. The other side is the trainer's code. Both scale pixels to -1..1, as the
frozen weights expect. Both run in one process and take turns, and ratios are computed per pair.
"""

import argparse
import logging
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from train.job import threads

SIDE, BATCH, EPOCHS = 128, 16, 10
AUGMENTED = {"horizontal_flip": True, "zoom_range": 0.2, "rotation_range": 20}
_NETWORK = "mobilenetv2_1.0"
_SOURCE = "saved by Keras"


class Script:
    """The script: a Keras model with two classes and its photo generators."""

    def __init__(self, channels: Path, weights: Path, seed: int, augmented: bool) -> None:
        import keras
        import tensorflow as tf

        from train.weights import keras_files

        keras.utils.set_random_seed(seed)
        base = keras.applications.MobileNetV2(input_shape=(SIDE, SIDE, 3), include_top=False, weights=None)
        keras_files.load_into(base, weights, _NETWORK, _SOURCE)
        base.trainable = False
        layers = keras.layers
        head = [layers.GlobalAveragePooling2D(), layers.Dropout(0.5), layers.Dense(1, activation="sigmoid")]
        self.model = keras.Sequential([base, *head])
        self.model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
        generator = tf.keras.preprocessing.image.ImageDataGenerator

        def flow(part: str, **options: Any) -> Any:
            images = generator(preprocessing_function=_scale, **options)
            size = (SIDE, SIDE)
            return images.flow_from_directory(channels / part, size, batch_size=BATCH, class_mode="binary", seed=seed)

        self.train = flow("train", **(AUGMENTED if augmented else {}))
        self.validation = flow("validation")

    def epochs(self, count: int) -> float:
        """Train, and return the best validation accuracy."""
        result = self.model.fit(self.train, epochs=count, validation_data=self.validation, verbose=0)
        return max(result.history["val_accuracy"])

    def epoch(self) -> None:
        """Train for one epoch without validation."""
        self.model.fit(self.train, epochs=1, verbose=0)

    def constant(self) -> None:
        """Train for the number of steps in an epoch, on one batch in memory."""
        import tensorflow as tf

        batch = self.train[0]
        self.model.fit(tf.data.Dataset.from_tensors(batch).repeat(len(self.train)), epochs=1, shuffle=False, verbose=0)


class NullFolder:
    """A model folder that discards everything."""

    def save(self, epoch: int, improved: bool, before: int | None) -> None:
        """Write nothing."""


class Ours:
    """The default program of image-classification-tensorflow, on the same photos."""

    def __init__(self, channels: Path, weights: Path, seed: int, augmented: bool) -> None:
        from train.data.channels import Channel
        from train.image_classification_tensorflow import hyperparameters, network
        from train.keras import data
        from train.weights import keras_files

        no_augmentation = {} if augmented else dict.fromkeys(AUGMENTED, "0")
        values = {"mini_batch_size": BATCH, "epochs": EPOCHS, "use_pretrained_model": 1, "seed": seed}
        hp = hyperparameters.check({name: str(value) for name, value in (values | no_augmentation).items()})
        inputs = {name: Channel(name, channels / name, "") for name in ("train", "validation")}
        self._data, self._hp = data.load(inputs, hp)
        self._network = network.build(self._hp)
        keras_files.load_into(self._network.base, weights, _NETWORK, _SOURCE)
        self._number = 0

    def stepping(self) -> Callable[[], None]:
        """Return a function that trains one augmented epoch without validation, to compare images/s."""
        from train.epoch import Clock, Epoch
        from train.keras.model import create_learner
        from train.trainer import train

        learner = create_learner(self._network, self._data, self._hp)

        def epoch() -> None:
            train(learner, Epoch(self._number, self._hp.mini_batch_size, 0, Clock(len(learner.batches))))
            self._number += 1

        return epoch

    def epochs(self, count: int) -> float:
        """Train, and return the best validation accuracy."""
        from train.keras.model import create_learner
        from train.trainer import Trainer

        trainer = Trainer(
            create_learner(self._network, self._data, self._hp), replace(self._hp, epochs=count), NullFolder()
        )
        trainer.run()
        return trainer.best.value


def main() -> None:
    """Print images/s with augmentation, then the time and accuracy of ten epochs without and with it."""
    parser = argparse.ArgumentParser(prog="benchmarks.keras_program", description=__doc__.splitlines()[0])
    parser.add_argument("--channels", type=Path, required=True, help="folder with train/ and validation/")
    parser.add_argument("--weights", type=Path, required=True, help="model.keras of a job with train_layers=all")
    parser.add_argument("--pairs", type=int, default=6, help="turns of one epoch each (default: 6)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of ten epochs each (default: 3)")
    arguments = parser.parse_args()
    print(threads.set_threads())  # before TensorFlow is loaded
    logging.disable(logging.INFO)  # the trainer's lines
    inputs = arguments.channels.resolve(), arguments.weights.resolve()
    _images_per_second(Script(*inputs, 0, True), Ours(*inputs, 0, True), arguments.pairs)
    for augmented in (False, True):
        _ten_epochs(inputs, augmented, arguments.seeds)


def _images_per_second(script: Script, ours: Ours, pairs: int) -> None:
    sides = {"script": script.epoch, "constant": script.constant, "ours": ours.stepping()}
    images = {name: len(script.train) * BATCH for name in ("constant", "ours")} | {"script": script.train.samples}
    for work in sides.values():
        work()  # warm up
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(pairs):
        for name in sides if number % 2 else reversed(sides):
            rates[name].append(images[name] / _seconds(sides[name])[0])
        print("   ".join(f"{name} {values[-1]:6.1f} images/s" for name, values in rates.items()), flush=True)
    for other in ("script", "constant"):
        ratios = [mine / theirs for mine, theirs in zip(rates["ours"], rates[other], strict=True)]
        print(f"ours / {other}: median {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def _ten_epochs(inputs: tuple[Path, Path], augmented: bool, seeds: int) -> None:
    print(f"{EPOCHS} epochs with validation, augmentation {'on' if augmented else 'off'}:", flush=True)
    results: dict[type, list[tuple[float, float]]] = {Script: [], Ours: []}  # seconds and accuracy
    for seed in range(seeds):
        for side in results if seed % 2 else reversed(results):
            # Includes reading the photos and building the network, as in a job.
            results[side].append(_seconds(lambda side=side, seed=seed: side(*inputs, seed, augmented).epochs(EPOCHS)))
        (theirs, their_accuracy), (mine, my_accuracy) = results[Script][-1], results[Ours][-1]
        print(
            f"  seed {seed}: script {theirs:.1f} s, {their_accuracy:.3f}; ours {mine:.1f} s, {my_accuracy:.3f}",
            flush=True,
        )
    ratios = [theirs / mine for (theirs, _), (mine, _) in zip(results[Script], results[Ours], strict=True)]
    means = [statistics.mean(accuracy for _, accuracy in results[side]) for side in (Script, Ours)]
    print(
        f"  median: ours is {statistics.median(ratios):.1f} times as fast; mean accuracy: script {means[0]:.3f}, ours "
        f"{means[1]:.3f}"
    )


def _scale(pixels: Any) -> Any:
    return pixels / 127.5 - 1


def _seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.monotonic()
    result = work()
    return time.monotonic() - start, result


if __name__ == "__main__":
    main()
