"""What a model's int8 graph gains over its float one: the server on each, in turns, JPEG in, JSON out.

    python benchmarks/serving_precision.py --images DIR MODEL_DIR ...

Standard library only. For each model, a folder with model.onnx and model.int8.onnx, both servers stay up and take
turns under load, because the speed of a shared machine drifts. Of each pair of turns: processor time of the server's
processes for each answer, and answers a second; printed are the medians and their ratios. The load comes from the same
cores.
"""

import argparse
import json
import os
import statistics
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks import serving_cost, serving_load

PRECISIONS = {"float32": "float32", "int8": "auto"}
"""The values of VISION_PRECISION."""


def main() -> int:
    """Print one line for each model."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("models", metavar="MODEL_DIR", type=Path, nargs="+", help="folder with both graphs")
    parser.add_argument("--images", type=Path, required=True, help="an image file, or a folder of .jpg and .png files")
    parser.add_argument("--clients", type=int, default=2, help="clients at once (default: 2)")
    parser.add_argument("--seconds", type=float, default=5, help="length of a turn (default: 5)")
    parser.add_argument("--pairs", type=int, default=5, help="turns of each precision (default: 5)")
    parser.set_defaults(pause=0, reconnect=False)
    arguments = parser.parse_args()
    images = serving_load.read_images(arguments.images)
    for model in arguments.models:
        print(measure(model, images, arguments), flush=True)
    return 0


def measure(model: Path, images: list[bytes], arguments: argparse.Namespace) -> str:
    """The line about one model: medians over the pairs."""
    costs: list[float] = []
    rates: list[float] = []
    floats: list[float] = []
    with ExitStack() as stack:
        servers = {name: stack.enter_context(served(model, value)) for name, value in PRECISIONS.items()}
        for name in PRECISIONS:  # what happens at the first requests alone
            turn(servers[name], images, arguments)
        for number in range(arguments.pairs):
            order = list(PRECISIONS)[:: 1 if number % 2 else -1]
            found = {name: turn(servers[name], images, arguments) for name in order}
            costs.append(found["float32"][0] / found["int8"][0])
            rates.append(found["int8"][1] / found["float32"][1])
            floats.append(found["float32"][0])
    document = json.loads((model / "model.json").read_text(encoding="utf-8"))
    sizes = [(model / name).stat().st_size / 1e6 for name in ("model.onnx", "model.int8.onnx")]
    return (
        f"{document['network']} at {document['input']['height']}: float {statistics.median(floats):.1f} ms of CPU an "
        f"answer; int8 {statistics.median(costs):.2f} times the answers per CPU second ({min(costs):.2f} to "
        f"{max(costs):.2f}), {statistics.median(rates):.2f} times the answers/s with {arguments.clients} clients; "
        f"{sizes[0]:.0f} MB and {sizes[1]:.0f} MB"
    )


@contextmanager
def served(model: Path, precision: str) -> Iterator[tuple[tuple[str, int], int]]:
    """Address and process of a server with that VISION_PRECISION."""
    os.environ["VISION_PRECISION"] = precision
    with serving_load.started(model, str(serving_load.ROOT / ".venvs/serve/bin/python")) as server:
        yield server


def turn(
    server: tuple[tuple[str, int], int], images: list[bytes], arguments: argparse.Namespace
) -> tuple[float, float]:
    """Milliseconds of processor time for each answer, and answers a second; ends where one was not 200."""
    address, process = server
    before = serving_cost.processor_seconds(process)
    answers, _ = serving_load.load(address, images, arguments.clients, arguments)
    spent = serving_cost.processor_seconds(process) - before
    if set(answers.seconds) != {200} or answers.errors:
        sys.exit(f"The server did not answer every request with 200: {sorted(answers.seconds)}, {answers.errors}")
    count = len(answers.seconds[200])
    return 1000 * spent / count, count / arguments.seconds


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
