"""A Keras model served by ONNX Runtime, which `serve` converts it for, beside the same server with TensorFlow in it.

    python benchmarks/serving_engines.py --model FILE.keras --images DIR

Standard library only. Both are the real server on the same file, JPEG in, JSON out; TensorFlow computes in one traced
function. Both stay up, and take turns under load, because the speed of a shared machine drifts: the ratio of requests/s
is taken pair by pair. The load generator runs on the same cores.
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
    """Measure and print one line a pair, then the median."""
    arguments = _parser().parse_args()
    images = serving_load.read_images(arguments.images)
    with ExitStack() as stack:
        addresses = {engine: stack.enter_context(served(engine, arguments)) for engine in ENGINES}
        for engine in ENGINES:  # what happens at the first requests alone
            serving_load.load(addresses[engine], images, arguments.clients, arguments)
        ratios = []
        for number in range(arguments.pairs):
            rates = {}
            for engine in ENGINES if number % 2 else ENGINES[::-1]:
                answers, _ = serving_load.load(addresses[engine], images, arguments.clients, arguments)
                rates[engine] = _rate(engine, answers, arguments.seconds)
            ratios.append(rates["onnx"] / rates["tensorflow"])
            said = "   ".join(f"{engine} {rates[engine]:6.1f} requests/s" for engine in ENGINES)
            print(f"{said}   ratio {ratios[-1]:.2f}", flush=True)
    print(f"{arguments.clients} clients: median ratio {statistics.median(ratios):.2f}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="a .keras file whose input is pixels from 0 to 255")
    parser.add_argument("--images", type=Path, required=True, help="an image file, or a folder of .jpg and .png files")
    parser.add_argument("--clients", type=int, default=8, help="clients at once")
    parser.add_argument("--seconds", type=float, default=8, help="length of a turn")
    parser.add_argument("--pairs", type=int, default=6, help="turns of each engine")
    parser.set_defaults(
        url=None, pause=0, reconnect=False, python=serving_load.ROOT / ".venvs" / "serve" / "bin" / "python"
    )
    return parser


@contextmanager
def served(engine: str, arguments: argparse.Namespace) -> Iterator[tuple[str, int]]:
    """Host and port of a server of the model in which `engine` computes."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / arguments.model.name).symlink_to(arguments.model.resolve())
        os.environ.update(VISION_ENGINE=engine, VISION_IMAGE_VALUES="0..255")
        options = argparse.Namespace(**{**vars(arguments), "model_dir": Path(folder)})
        with serving_load.server(options) as address:
            yield address


def _rate(engine: str, answers: serving_load.Tally, seconds: float) -> float:
    """Answers a second; the measurement ends where one was not 200, or was lost."""
    if set(answers.seconds) != {200} or answers.errors:
        found = {status: len(times) for status, times in answers.seconds.items()} | dict(answers.errors)
        sys.exit(f"{engine} did not answer every request with 200: {found}")
    return len(answers.seconds[200]) / seconds


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
