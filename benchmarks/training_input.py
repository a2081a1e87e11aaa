"""Does training wait for its input? Images/s of real epochs against the same step on one constant batch.

    .venvs/mxnet/bin/python -m benchmarks.training_input --channels DIR     (from the repository's root)

DIR holds the channels that `python -m local prepare image-classification` writes. Both sides are the trainer's own
code, ResNet-18 at 128 pixels with crop_color_transform and batches of 32, in one process with the same threads. They
take turns, and the ratio is taken pair by pair, because the speed of a shared machine drifts. Run it with nothing else
running.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from train import threads

_HYPERPARAMETERS = {
    "num_layers": "18",
    "image_shape": "3,128,128",
    "resize": "144",
    "mini_batch_size": "32",
    "optimizer": "nag",
    "learning_rate": "0.01",
    "augmentation_type": "crop_color_transform",
}


def main() -> None:
    """Measure and print one line a pair, then the medians."""
    parser = argparse.ArgumentParser(prog="benchmarks.training_input", description=__doc__.splitlines()[0])
    parser.add_argument("--channels", type=Path, required=True, help="folder of the channels train, train_lst, ...")
    parser.add_argument("--pairs", type=int, default=10, help="pairs of one real and one constant epoch (default: 10)")
    arguments = parser.parse_args()
    print(threads.set_threads())
    # After the thread variables, which are read when these are loaded.
    from train.image_classification import data, loop, network

    hp, loaded = _load(arguments.channels)
    step = loop.Step(
        network.build(18, hp["num_classes"], 3, 0), loop.loss_function(hp, data.stack_labels(loaded.train)), hp
    )
    batches = loaded.train_batches(hp)
    images = len(batches) * hp["mini_batch_size"]
    batch = next(iter(batches.epoch(0)))

    def constant() -> None:
        under_way = None
        for _ in range(len(batches)):  # one batch stays under way, as in a real epoch
            current = step(*batch)[0]
            if under_way is not None:
                under_way.asnumpy()
            under_way = current
        under_way.asnumpy()

    constant()
    ratios, rates = [], []
    for number in range(arguments.pairs):

        def real(number: int = number) -> None:
            loop.Epoch(number, step, batches, hp, time.monotonic()).run()

        # Each side goes first in every other pair: a shared machine often slows down while it is being used.
        order = (constant, real) if number % 2 else (real, constant)
        seconds = {work: _seconds(work) for work in order}
        rate, reached = images / seconds[constant], images / seconds[real]
        ratios.append(reached / rate)
        rates.append(reached)
        print(f"constant {rate:6.1f} images/s   real {reached:6.1f} images/s   ratio {reached / rate:.3f}", flush=True)
    print(f"median: {statistics.median(rates):.1f} images/s, ratio {statistics.median(ratios):.3f}")


def _load(folder: Path) -> tuple[dict[str, Any], Any]:
    from train import channels
    from train.image_classification import data, table

    found = {path.name: channels.Channel(path.name, path, "") for path in folder.resolve().iterdir()}
    lines = found["train_lst"].one(".lst").read_text().splitlines()
    labels = {line.split("\t")[1] for line in lines if line}
    counts = {"num_classes": str(len(labels)), "num_training_samples": str(len(lines))}
    hp = table.check({**_HYPERPARAMETERS, **counts})
    return hp, data.load(found, hp)


def _seconds(work: Callable[[], object]) -> float:
    import mxnet as mx

    mx.nd.waitall()  # a step returns before its backward pass is done: that belongs to the side that began it
    start = time.monotonic()
    work()
    mx.nd.waitall()
    return time.monotonic() - start


if __name__ == "__main__":
    main()
