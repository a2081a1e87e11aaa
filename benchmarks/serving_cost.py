"""Compares the server's CPU time per request between this checkout and another one.

    python benchmarks/serving_cost.py --model-dir DIR --images DIR --other CHECKOUT

Standard library only. The checkouts take turns, and their minimum times are compared. The CPU time includes child
processes of the server, but not the client.
"""

import argparse
import http.client
import os
import sys
from contextlib import closing, suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks import serving_load

_TICKS = os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Print milliseconds of CPU time per request for both checkouts, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model-dir", type=Path, required=True, help="folder with model.json and model.onnx")
    parser.add_argument("--images", type=Path, required=True, help="folder of photos, or one photo")
    parser.add_argument("--other", type=Path, required=True, help="the checkout to compare with")
    parser.add_argument("--python", default=str(serving_load.ROOT / ".venvs/serve/bin/python"))
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--requests", type=int, default=300, help="requests per turn")
    arguments = parser.parse_args()
    images = serving_load.read_images(arguments.images)
    results: dict[Path, list[float]] = {serving_load.ROOT: [], arguments.other.resolve(): []}
    for _ in range(arguments.turns):
        for checkout, costs in results.items():
            costs.append(_cost(checkout, arguments, images))
    for checkout, costs in results.items():
        print(f"{checkout}: {min(costs):.3f} ms per request, minimum of {', '.join(f'{cost:.3f}' for cost in costs)}")
    ours, theirs = (min(costs) for costs in results.values())
    print(f"ratio {ours / theirs:.3f}")
    return 0


def _cost(checkout: Path, arguments: argparse.Namespace, images: list[bytes]) -> float:
    """Return milliseconds of CPU time per request, after twenty warm-up requests."""
    with (
        serving_load.started(arguments.model_dir, arguments.python, checkout) as (address, process),
        closing(http.client.HTTPConnection(*address)) as client,
    ):
        before = 0.0
        for number in range(-20, arguments.requests):
            if number == 0:
                before = processor_seconds(process)
            client.request("POST", "/invocations", images[number % len(images)], {"Content-Type": "image/jpeg"})
            response = client.getresponse()
            body = response.read()
            if response.status != 200:
                sys.exit(f"The server returned {response.status}: {body!r:.200}")
        return 1000 * (processor_seconds(process) - before) / arguments.requests


def processor_seconds(process: int) -> float:
    """Return the CPU time of a process and all its descendants in seconds (proc(5), fields 4 and 14 to 17)."""
    parents, ticks = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # the process has ended
            fields = path.read_text().rpartition(")")[2].split()
            parents[int(path.parent.name)] = int(fields[1])
            ticks[int(path.parent.name)] = sum(map(int, fields[11:15]))
    family = {process}
    while children := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= children
    return sum(ticks.get(pid, 0) for pid in family) / _TICKS


if __name__ == "__main__":
    sys.exit(main())
