"""Compares servers of a model's int8 graph and its float graph, with JPEG requests and JSON responses.

    python benchmarks/serving_precision.py --images DIR MODEL_DIR ...

Standard library only. Each MODEL_DIR has model.onnx and model.int8.onnx. Both servers stay up and take turns under
load, because the speed of a shared machine drifts. Each turn measures the server's CPU time per response, and
responses/s. The load generator runs on the same cores.
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
"""The value of VISION_PRECISION for each precision."""


def main() -> int:
    """Print one line for each model."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("models", metavar="MODEL_DIR", type=Path, nargs="+", help="folder with both graphs")
    parser.add_argument("--images", type=Path, required=True, help="an image file, or a folder of .jpg and .png files")
    parser.add_argument("--clients", type=int, default=2, help="concurrent clients (default: 2)")
    parser.add_argument("--seconds", type=float, default=5, help="length of a turn (default: 5)")
    parser.add_argument("--pairs", type=int, default=5, help="turns of each precision (default: 5)")
    parser.set_defaults(pause=0, reconnect=False)
    arguments = parser.parse_args()
    images = serving_load.read_images(arguments.images)
    for model in arguments.models:
        print(measure(model, images, arguments), flush=True)
    return 0


def measure(model: Path, images: list[bytes], arguments: argparse.Namespace) -> str:
    """Measure one model, and return a line with the medians over the pairs."""
    cost_ratios: list[float] = []
    rate_ratios: list[float] = []
    float_costs: list[float] = []
    with ExitStack() as stack:
        servers = {name: stack.enter_context(served(model, value)) for name, value in PRECISIONS.items()}
        for name in PRECISIONS:  # warm up
            turn(servers[name], images, arguments)
        for number in range(arguments.pairs):
            order = list(PRECISIONS)[:: 1 if number % 2 else -1]
            results = {name: turn(servers[name], images, arguments) for name in order}
            cost_ratios.append(results["float32"][0] / results["int8"][0])
            rate_ratios.append(results["int8"][1] / results["float32"][1])
            float_costs.append(results["float32"][0])
    document = json.loads((model / "model.json").read_text(encoding="utf-8"))
    sizes = [(model / name).stat().st_size / 1e6 for name in ("model.onnx", "model.int8.onnx")]
    return (
        f"{document['network']} at {document['input']['height']}: float {statistics.median(float_costs):.1f} ms of CPU "
        f"time per response; int8 {statistics.median(cost_ratios):.2f} times the responses per CPU second "
        f"({min(cost_ratios):.2f} to {max(cost_ratios):.2f}), {statistics.median(rate_ratios):.2f} times the "
        f"responses/s with {arguments.clients} clients; {sizes[0]:.0f} MB and {sizes[1]:.0f} MB"
    )


@contextmanager
def served(model: Path, precision: str) -> Iterator[tuple[tuple[str, int], int]]:
    """Run a server with this VISION_PRECISION, and yield its address and process id."""
    os.environ["VISION_PRECISION"] = precision
    with serving_load.started(model, str(serving_load.ROOT / ".venvs/serve/bin/python")) as server:
        yield server


def turn(
    server: tuple[tuple[str, int], int], images: list[bytes], arguments: argparse.Namespace
) -> tuple[float, float]:
    """Return milliseconds of CPU time per response, and responses/s.

    Exits if a status was not 200 or a connection was lost.
    """
    address, process = server
    before = serving_cost.processor_seconds(process)
    responses, _ = serving_load.load(address, images, arguments.clients, arguments)
    seconds = serving_cost.processor_seconds(process) - before
    if set(responses.seconds) != {200} or responses.errors:
        sys.exit(f"The server did not return 200 for every request: {sorted(responses.seconds)}, {responses.errors}")
    count = len(responses.seconds[200])
    return 1000 * seconds / count, count / arguments.seconds


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
