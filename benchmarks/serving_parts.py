"""Measures how much of a request's time is spent in the network, and how much in the rest of the server.

    .venvs/serve/bin/python -m benchmarks.serving_parts --model-dir DIR --images DIR     (from the repository's root)

The rest is the server's own code without HTTP: decode and resize the image, compute the prediction from the network's
outputs, and encode it. Requests are sent one at a time, with the model's default response format.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np

from benchmarks.serving_load import read_images
from serve.engine.runtime import OnnxEngine
from serve.machine import cpu_count


class Timed(OnnxEngine):
    """An engine that measures the time in the network."""

    seconds = 0.0

    def run(self, tensors: np.ndarray) -> dict[str, np.ndarray]:
        """Run the network, and set `seconds` to its time."""
        start = time.perf_counter()
        try:
            return super().run(tensors)
        finally:
            self.seconds = time.perf_counter() - start


def main() -> None:
    """Print the medians over all requests."""
    parser = argparse.ArgumentParser(prog="benchmarks.serving_parts", description=__doc__.splitlines()[0])
    parser.add_argument("--model-dir", type=Path, required=True, help="folder with model.onnx and model.json")
    parser.add_argument("--images", type=Path, required=True, help="an image file, or a folder of .jpg and .png files")
    parser.add_argument("--rounds", type=int, default=5, help="how many times each photo is sent (default: 5)")
    arguments = parser.parse_args()
    engine = Timed(arguments.model_dir, cpu_count())
    form = engine.forms(batch=False)[0]
    photos = read_images(arguments.images)
    network, rest, sizes = [], [], []
    for _ in range(arguments.rounds):
        for photo in photos:
            start = time.perf_counter()
            sizes.append(len(engine.respond(engine.read(photo, "image/jpeg", ()), form)))
            total = time.perf_counter() - start
            network.append(engine.seconds)
            rest.append(total - engine.seconds)
    network_ms, rest_ms = 1000 * statistics.median(network), 1000 * statistics.median(rest)
    share = statistics.median(part / (part + net) for part, net in zip(rest, network, strict=True))
    print(
        f"{len(photos)} photos, {arguments.rounds} times: {engine.artifact.network} at {engine.artifact.input.resize}"
    )
    print(f"median: network {network_ms:.1f} ms, rest {rest_ms:.1f} ms, which is {100 * share:.1f} % of a request")
    print(f"responses as {form.media}: median {statistics.median(sizes):.0f} bytes, maximum {max(sizes)}")


if __name__ == "__main__":
    main()
