"""How much of a request is the network? Seconds of each photo in ONNX Runtime, and in all the rest of the server.

    .venvs/serve/bin/python -m benchmarks.serving_parts --model-dir DIR --images DIR     (from the repository's root)

DIR of the model holds model.onnx and model.json. The rest is what the server's own code does of a body: decode, resize,
and make the answer and its bytes; without HTTP. One request at a time, in the model's default form.
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
    """The engine, which notes how long the network computed."""

    seconds = 0.0

    def run(self, tensors: np.ndarray) -> dict[str, np.ndarray]:
        """As OnnxEngine's; `seconds` is what it took."""
        start = time.perf_counter()
        try:
            return super().run(tensors)
        finally:
            self.seconds = time.perf_counter() - start


def main() -> None:
    """Measure and print the medians over all requests."""
    parser = argparse.ArgumentParser(prog="benchmarks.serving_parts", description=__doc__.splitlines()[0])
    parser.add_argument("--model-dir", type=Path, required=True, help="folder of model.onnx and model.json")
    parser.add_argument("--images", type=Path, required=True, help="an image file, or a folder of .jpg and .png files")
    parser.add_argument("--rounds", type=int, default=5, help="times that each photo is sent (default: 5)")
    arguments = parser.parse_args()
    engine = Timed(arguments.model_dir, cpu_count())
    form = engine.forms(batch=False)[0]
    photos = read_images(arguments.images)
    network, rest, sizes = [], [], []
    for _ in range(arguments.rounds):
        for photo in photos:
            start = time.perf_counter()
            sizes.append(len(engine.respond(engine.read(photo, "image/jpeg", ()), form)))
            whole = time.perf_counter() - start
            network.append(engine.seconds)
            rest.append(whole - engine.seconds)
    inside, outside = 1000 * statistics.median(network), 1000 * statistics.median(rest)
    share = statistics.median(part / (part + net) for part, net in zip(rest, network, strict=True))
    print(
        f"{len(photos)} photos, {arguments.rounds} times: {engine.artifact.network} at {engine.artifact.input.resize}"
    )
    print(f"median: network {inside:.1f} ms, the rest {outside:.1f} ms, {100 * share:.1f} % of a request")
    print(f"answer as {form.media}: median {statistics.median(sizes):.0f} bytes, largest {max(sizes)}")


if __name__ == "__main__":
    main()
