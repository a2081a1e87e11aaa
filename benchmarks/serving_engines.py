"""Compares a server that converts a Keras model for ONNX Runtime with the same server using TensorFlow.

    python benchmarks/serving_engines.py --model FILE.keras --images DIR

Standard library only. Both are the real server on the same file, with JPEG requests and JSON responses. TensorFlow runs
the model as one traced function. Both servers stay up and take turns under load, and the ratio of requests/s is
computed per pair, because the speed of a shared machine drifts. The load generator runs on the same cores.
"""

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import serving_load

ENGINES = ("tensorflow", "onnx")


def main() -> int:
    """Print one line per pair, then the median."""
    arguments = _parser().parse_args()
    images = serving_load.read_images(arguments.images)
    with ExitStack() as stack:
        addresses = {engine: stack.enter_context(served(engine, arguments)) for engine in ENGINES}
        for engine in ENGINES:  # warm up
            serving_load.load(addresses[engine], images, arguments.clients, arguments)
        ratios = []
        for number in range(arguments.pairs):
            rates = {}
            for engine in ENGINES if number % 2 else ENGINES[::-1]:
                responses, _ = serving_load.load(addresses[engine], images, arguments.clients, arguments)
                rates[engine] = _rate(engine, responses, arguments.seconds)
            ratios.append(rates["onnx"] / rates["tensorflow"])
            columns = "   ".join(f"{engine} {rates[engine]:6.1f} requests/s" for engine in ENGINES)
            print(f"{columns}   ratio {ratios[-1]:.2f}", flush=True)
    print(f"{arguments.clients} clients: median ratio {statistics.median(ratios):.2f}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="a .keras file whose input is pixels from 0 to 255")
    parser.add_argument("--images", type=Path, required=True, help="an image file, or a folder of .jpg and .png files")
    parser.add_argument("--clients", type=int, default=8, help="concurrent clients")
    parser.add_argument("--seconds", type=float, default=8, help="length of a turn")
    parser.add_argument("--pairs", type=int, default=6, help="turns of each engine")
    parser.set_defaults(
        url=None, pause=0, reconnect=False, python=serving_load.ROOT / ".venvs" / "serve" / "bin" / "python"
    )
    return parser


@contextmanager
def served(engine: str, arguments: argparse.Namespace) -> Iterator[tuple[str, int]]:
    """Serve the model with `engine` while the block runs, and yield the server's host and port."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / arguments.model.name).symlink_to(arguments.model.resolve())
        os.environ.update(VISION_ENGINE=engine, VISION_IMAGE_VALUES="0..255")
        options = argparse.Namespace(**{**vars(arguments), "model_dir": Path(folder)})
        with serving_load.server(options) as address:
            yield address


def _rate(engine: str, responses: serving_load.Tally, seconds: float) -> float:
    """Return responses/s. Exits if a status was not 200 or a connection was lost."""
    if set(responses.seconds) != {200} or responses.errors:
        counts = {status: len(times) for status, times in responses.seconds.items()} | dict(responses.errors)
        sys.exit(f"{engine} did not return 200 for every request: {counts}")
    return len(responses.seconds[200]) / seconds


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
