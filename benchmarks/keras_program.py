"""The seed project's Keras program beside image-classification-tensorflow, on the same photos and frozen weights.

    .venvs/tensorflow/bin/python -m benchmarks.keras_program --channels DIR --weights FILE    (from the root)

DIR holds what `python3 -m local prepare image-classification-tensorflow` writes, FILE is the model.keras of a job that
trained all layers. Both sides train a head on the frozen MobileNetV2 in FILE: 128 pixels, batches of 16, dropout 0.5,
Adam. The one is a script as people write it: class folders through `ImageDataGenerator` (flip, zoom 0.8 to 1.2,
rotation by up to 20 degrees) into `fit`, one sigmoid. The other is the trainer's own code. Its scale of pixels, -1 to
1, is the script's too, since the weights were made at it. Everything in one process, in turns, ratios pair by pair.
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
_SOURCE = "that Keras has written"


class Script:
    """The seed's program: a Keras model of two classes and its generators of photos."""

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
            made = generator(preprocessing_function=_scaled, **options)
            size = (SIDE, SIDE)
            return made.flow_from_directory(channels / part, size, batch_size=BATCH, class_mode="binary", seed=seed)

        self.train = flow("train", **(AUGMENTED if augmented else {}))
        self.validation = flow("validation")

    def epochs(self, count: int) -> float:
        """Train; return the best validation accuracy."""
        fitted = self.model.fit(self.train, epochs=count, validation_data=self.validation, verbose=0)
        return max(fitted.history["val_accuracy"])

    def epoch(self) -> None:
        """One epoch without validation."""
        self.model.fit(self.train, epochs=1, verbose=0)

    def constant(self) -> None:
        """As many steps of `fit` as an epoch has, on one batch that is in memory."""
        import tensorflow as tf

        batch = self.train[0]
        self.model.fit(tf.data.Dataset.from_tensors(batch).repeat(len(self.train)), epochs=1, shuffle=False, verbose=0)


class Nowhere:
    """A model folder that nothing is written to."""

    def save(self, epoch: int, improved: bool, before: int | None) -> None:
        """Write nothing."""


class Ours:
    """The default program of image-classification-tensorflow on the same photos."""

    def __init__(self, channels: Path, weights: Path, seed: int, augmented: bool) -> None:
        from train.data.channels import Channel
        from train.image_classification_tensorflow import hyperparameters, network
        from train.keras import data
        from train.weights import keras_files

        still = {} if augmented else dict.fromkeys(AUGMENTED, "0")
        values = {"mini_batch_size": BATCH, "epochs": EPOCHS, "use_pretrained_model": 1, "seed": seed, **still}
        hp = hyperparameters.check({name: str(value) for name, value in values.items()})
        found = {name: Channel(name, channels / name, "") for name in ("train", "validation")}
        self._data, self._hp = data.load(found, hp)
        self._network = network.build(self._hp)
        keras_files.load_into(self._network.base, weights, _NETWORK, _SOURCE)
        self._number = 0

    def stepping(self) -> Callable[[], None]:
        """An augmented epoch without validation, for the comparison of images/s."""
        from train.epoch import Clock, Epoch
        from train.keras.model import create_learner
        from train.trainer import train

        learner = create_learner(self._network, self._data, self._hp)

        def epoch() -> None:
            train(learner, Epoch(self._number, self._hp.mini_batch_size, 0, Clock(len(learner.batches))))
            self._number += 1

        return epoch

    def epochs(self, count: int) -> float:
        """Train; return the best validation accuracy."""
        from train.keras.model import create_learner
        from train.trainer import Trainer

        trainer = Trainer(
            create_learner(self._network, self._data, self._hp), replace(self._hp, epochs=count), Nowhere()
        )
        trainer.run()
        return trainer.best.value


def main() -> None:
    """Measure and print: images/s with augmentation, then time and accuracy of ten epochs without and with it."""
    parser = argparse.ArgumentParser(prog="benchmarks.keras_program", description=__doc__.splitlines()[0])
    parser.add_argument("--channels", type=Path, required=True, help="folder of class folders, train/ and validation/")
    parser.add_argument("--weights", type=Path, required=True, help="model.keras of a job with train_layers=all")
    parser.add_argument("--pairs", type=int, default=6, help="turns of one epoch each (default: 6)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of ten epochs each (default: 3)")
    arguments = parser.parse_args()
    print(threads.set_threads())  # before TensorFlow is loaded
    logging.disable(logging.INFO)  # the trainer's lines
    made = arguments.channels.resolve(), arguments.weights.resolve()
    _images_per_second(Script(*made, 0, True), Ours(*made, 0, True), arguments.pairs)
    for augmented in (False, True):
        _ten_epochs(made, augmented, arguments.seeds)


def _images_per_second(script: Script, ours: Ours, pairs: int) -> None:
    sides = {"script": script.epoch, "constant": script.constant, "ours": ours.stepping()}
    images = {name: len(script.train) * BATCH for name in ("constant", "ours")} | {"script": script.train.samples}
    for work in sides.values():
        work()  # what is traced once
    found: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(pairs):
        for name in sides if number % 2 else reversed(sides):
            found[name].append(images[name] / _seconds(sides[name])[0])
        print("   ".join(f"{name} {rates[-1]:6.1f} images/s" for name, rates in found.items()), flush=True)
    for other in ("script", "constant"):
        ratios = [mine / theirs for mine, theirs in zip(found["ours"], found[other], strict=True)]
        print(f"ours over {other}: median {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def _ten_epochs(made: tuple[Path, Path], augmented: bool, seeds: int) -> None:
    print(f"{EPOCHS} epochs with validation, augmentation {'on' if augmented else 'off'}:", flush=True)
    found: dict[type, list[tuple[float, float]]] = {Script: [], Ours: []}
    for seed in range(seeds):
        for side in found if seed % 2 else reversed(found):
            # From the photos' files to the last validation: reading and building are part of a job.
            found[side].append(_seconds(lambda side=side, seed=seed: side(*made, seed, augmented).epochs(EPOCHS)))
        (theirs, accuracy), (mine, reached) = found[Script][-1], found[Ours][-1]
        print(f"  seed {seed}: script {theirs:.1f} s, {accuracy:.3f}; ours {mine:.1f} s, {reached:.3f}", flush=True)
    ratios = [theirs / mine for (theirs, _), (mine, _) in zip(found[Script], found[Ours], strict=True)]
    means = [statistics.mean(accuracy for _, accuracy in found[side]) for side in (Script, Ours)]
    print(
        f"  median: {statistics.median(ratios):.1f} times less time; mean accuracy {means[0]:.3f}, ours {means[1]:.3f}"
    )


def _scaled(pixels: Any) -> Any:
    return pixels / 127.5 - 1


def _seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.monotonic()
    result = work()
    return time.monotonic() - start, result


if __name__ == "__main__":
    main()
