"""Measures whether training waits for its input: the images/s of real epochs and of the same steps on a constant batch.

    .venvs/mxnet/bin/python -m benchmarks.training_input NAME --channels DIR     (from the repository's root)

DIR has the channels that `python3 -m local prepare NAME` writes. Both sides use the trainer's code, in one process with
the same threads: a ResNet-18 at 128 pixels with crop_color_transform and batches of 32, an SSD on ResNet-18 at 300
pixels and batches of 16, or an FCN on ResNet-50 with crops of 128 pixels and batches of 8. They take turns, and the
ratio is computed per pair, because the speed of a shared machine drifts. Run it on an otherwise idle machine.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from train.hyperparameter_types import CommonHyperparameters
from train.job import threads

_CLASSIFIER = {
    "num_layers": "18",
    "image_shape": "3,128,128",
    "resize": "144",
    "mini_batch_size": "32",
    "optimizer": "nag",
    "learning_rate": "0.01",
    "augmentation_type": "crop_color_transform",
}
_DETECTOR = {
    "base_network": "resnet-18",
    "use_pretrained_model": "0",
    "image_shape": "300",
    "mini_batch_size": "16",
    "learning_rate": "0.001",
}
_SEGMENTER = {
    "backbone": "resnet-50",
    "use_pretrained_model": "False",
    "base_size": "128",
    "crop_size": "128",
    "mini_batch_size": "8",
    "optimizer": "adam",
    "learning_rate": "0.001",
}


@dataclass(frozen=True)
class Setup:
    """The training step, a batch to repeat, a function that runs a real epoch, and the counts of batches and images."""

    step: Callable[..., tuple[Any, ...]]
    batch: tuple[Any, ...]
    epoch: Callable[[int], Any]
    batches: int
    images: int

    def constant(self) -> None:
        """Run an epoch of steps on one batch. Results are read one step late, as in a real epoch."""
        previous = None
        for _ in range(self.batches):
            current = self.step(*self.batch)[0][0]  # the output of the only device
            if previous is not None:
                previous.asnumpy()
            previous = current
        previous.asnumpy()


def classifier(folder: Path) -> Setup:
    """Set up the classifier on the channels in `folder`."""
    from train.classification import labelled
    from train.classification.log_lines import ClassifierLines
    from train.image_classification import data, hyperparameters, network
    from train.image_classification.step import Step, loss_function

    lines = _channels(folder)["train_lst"].only_file(".lst").read_text().splitlines()
    classes = {line.split("\t")[1] for line in lines if line}
    counts = {"num_classes": str(len(classes)), "num_training_samples": str(len(lines))}
    hp = hyperparameters.check(_CLASSIFIER | counts)
    loaded = data.load(_channels(folder), hp)
    net = network.build(18, hp.num_classes, 3, 0)
    step = Step(net, loss_function(hp, labelled.stack_labels(loaded.train)), hp)
    return _setup(ClassifierLines(None), step, loaded.train_batches(hp), hp)


def detector(folder: Path) -> Setup:
    """Set up the detector on the channels in `folder`."""
    from train.object_detection import data, hyperparameters, network
    from train.object_detection.log_lines import DetectionLines
    from train.object_detection.step import Step

    count = sum(path.is_file() for path in (folder / "train").iterdir())
    hp = hyperparameters.check({**_DETECTOR, "num_classes": "2", "num_training_samples": str(count)})
    loaded = data.load(_channels(folder), hp)
    step = Step(network.build("resnet-18", 2, 300, 0), hp)
    return _setup(DetectionLines("algo-1", 1), step, loaded.train_batches(hp, network.anchors("resnet-18", 300)), hp)


def segmenter(folder: Path) -> Setup:
    """Set up the segmenter on the channels in `folder`, with unchanged trimaps (pixel values 0 to 3)."""
    from train.semantic_segmentation import data, hyperparameters, network
    from train.semantic_segmentation.log_lines import SegmentationLines
    from train.semantic_segmentation.step import Step

    count = sum(path.is_file() for path in (folder / "train").iterdir())
    hp = hyperparameters.check({**_SEGMENTER, "num_classes": "4", "num_training_samples": str(count)})
    loaded = data.load(_channels(folder), hp)
    batches = loaded.train_batches(hp)
    step = Step(network.build("fcn", "resnet-50", 4, 0), hp, len(batches))
    return _setup(SegmentationLines("algo-1", 1, 1, ()), step, batches, hp)


ALGORITHMS = {"image-classification": classifier, "object-detection": detector, "semantic-segmentation": segmenter}


def main() -> None:
    """Print one line per pair, then the medians."""
    parser = argparse.ArgumentParser(prog="benchmarks.training_input", description=__doc__.splitlines()[0])
    parser.add_argument("name", metavar="NAME", choices=ALGORITHMS, help=f"algorithm: {', '.join(ALGORITHMS)}")
    parser.add_argument("--channels", type=Path, required=True, help="folder of the channels train, validation, ...")
    parser.add_argument("--pairs", type=int, default=10, help="pairs of one real and one constant epoch (default: 10)")
    arguments = parser.parse_args()
    print(threads.set_threads())  # before MXNet is loaded
    setup = ALGORITHMS[arguments.name](arguments.channels.resolve())
    setup.constant()
    ratios, rates = [], []
    for number in range(arguments.pairs):

        def real(number: int = number) -> None:
            setup.epoch(number)

        # The sides take turns going first, because a shared machine often slows down under load.
        order = (setup.constant, real) if number % 2 else (real, setup.constant)
        seconds = {work.__name__: _seconds(work) for work in order}
        constant_rate, real_rate = setup.images / seconds["constant"], setup.images / seconds["real"]
        ratio = real_rate / constant_rate
        ratios.append(ratio)
        rates.append(real_rate)
        print(
            f"constant {constant_rate:6.1f} images/s   real {real_rate:6.1f} images/s   ratio {ratio:.3f}", flush=True
        )
    print(f"median: {statistics.median(rates):.1f} images/s, ratio {statistics.median(ratios):.3f}")


def _channels(folder: Path) -> dict[str, Any]:
    from train.data import channels

    return {path.name: channels.Channel(path.name, path, "") for path in folder.iterdir()}


def _setup(lines: Any, step: Any, batches: Any, hp: CommonHyperparameters) -> Setup:
    from train.epoch import Clock, Epoch
    from train.learner import Learner
    from train.trainer import train

    def never() -> Any:
        raise NotImplementedError  # epochs are not evaluated

    learner = Learner(batches, step, never, lines)

    def epoch(number: int) -> None:
        train(learner, Epoch(number, hp.mini_batch_size, 0, Clock(len(batches))))

    return Setup(step, next(iter(batches.epoch(0))), epoch, len(batches), len(batches) * hp.mini_batch_size)


def _seconds(work: Callable[[], object]) -> float:
    import mxnet as mx

    mx.nd.waitall()  # a step returns before its backward pass ends, which must count for the side that started it
    start = time.monotonic()
    work()
    mx.nd.waitall()
    return time.monotonic() - start


if __name__ == "__main__":
    main()
