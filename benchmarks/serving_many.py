"""Benchmarks many models in one container: how many fit, memory after unloading, killed workers, and sustained load.

    python benchmarks/serving_many.py fill --image sagemaker-vision/inference:dev --models DIR --photo FILE
    python benchmarks/serving_many.py cycle --image IMAGE --models DIR --photo FILE
    python benchmarks/serving_many.py kill --image IMAGE --models DIR DIR DIR --photo FILE
    python benchmarks/serving_many.py load --image IMAGE --models DIR DIR DIR --photo FILE --minutes 10

Standard library and Docker only. Requires permission to read all of /proc. Each DIR has model.json and model.onnx.
"""

import argparse
import math
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks.multi_model import Container, docker, started
from benchmarks.serving_load import Tally, percentiles, timed

MEMORY = "1g"
CLIENTS = 8
KILL_SECONDS = 5
PING_SECONDS = 0.05
RETRY_SECONDS = 1  # as in the Retry-After header of a 503


@dataclass
class Load:
    """Clients that send requests to random models in `names` until `stop` is set, and pause only after a 503."""

    container: Container
    photo: bytes
    names: list[str]
    limit: int | None = None
    """Maximum number of requests of each client."""
    tally: Tally = field(default_factory=Tally)
    pings: Tally = field(default_factory=Tally)
    stop: threading.Event = field(default_factory=threading.Event)

    def client(self) -> None:
        """Run one client on a persistent connection."""
        sent = 0
        with closing(self.container.connect()) as connection:
            while not self.stop.is_set() and (self.limit is None or sent < self.limit):
                path = f"/models/{random.choice(self.names)}/invoke"
                status = timed(connection, "POST", path, self.photo, math.inf, self.tally)
                sent += 1
                if status is None:
                    connection.close()
                elif status == 503:
                    self.stop.wait(RETRY_SECONDS)

    def pinger(self) -> None:
        """Send health checks, on a new connection each time."""
        while not self.stop.wait(PING_SECONDS):
            with closing(self.container.connect()) as connection:
                timed(connection, "GET", "/ping", None, math.inf, self.pings)

    @contextmanager
    def running(self, clients: int) -> Iterator[list[threading.Thread]]:
        """Run some clients and a pinger while the block runs."""
        threads = [threading.Thread(target=self.client) for _ in range(clients)]
        pinger = threading.Thread(target=self.pinger)
        for thread in (*threads, pinger):
            thread.start()
        try:
            yield threads
        finally:
            self.stop.set()
            for thread in (*threads, pinger):
                thread.join()

    def report(self) -> str:
        """Return the clients' results as text."""
        lines = [f"  invoke {status}: {len(s)}, {percentiles(s)}" for status, s in sorted(self.tally.seconds.items())]
        lines += [f"  /ping {status}: {len(s)}, {percentiles(s)}" for status, s in sorted(self.pings.seconds.items())]
        lines.append(f"  connections lost: {dict(self.tally.errors)}, for /ping {dict(self.pings.errors)}")
        return "\n".join(lines)


def fill(arguments: argparse.Namespace) -> None:
    """Load copies of the first model until long after the container is full, under a light load."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(arguments.count):  # real copies, so that they use the page cache like different models
            shutil.copytree(arguments.models[0], Path(folder) / str(number) / "model")
        with (
            started(arguments.image, arguments.memory, {"/opt/ml/models": Path(folder)}) as container,
            started(arguments.image, arguments.memory, {}) as idle,
        ):
            statuses, seconds = Counter[int](), []
            load, control = Load(container, arguments.photo.read_bytes(), ["0"]), Load(idle, b"", [])
            statuses[container.load("0", "/opt/ml/models/0/model")] += 1
            with load.running(2), control.running(0):
                for number in range(1, arguments.count):
                    start = time.monotonic()
                    status = container.load(str(number), f"/opt/ml/models/{number}/model")
                    statuses[status] += 1
                    if status == 200:
                        seconds.append(time.monotonic() - start)
                        load.names.append(str(number))
            print(f"{arguments.count} loads: {dict(statuses)}, {percentiles(seconds)}")
            print(f"  {container.memory():.0f} MB PSS with {len(load.names)} models")
            responses = Counter(container.request("POST", f"/models/{name}/invoke", load.photo) for name in load.names)
            print(f"  one more request to each loaded model: {dict(responses)}")
            print(load.report())
            print(f"an idle container at the same time\n{control.report()}")
            _print_kills(container)


def cycle(arguments: argparse.Namespace) -> None:
    """Load, invoke and unload the first model repeatedly."""
    with started(arguments.image, arguments.memory, {"/opt/ml/models/0": arguments.models[0]}) as container:
        photo, memory = arguments.photo.read_bytes(), []
        for number in range(arguments.count):
            statuses = [
                container.load("0", "/opt/ml/models/0"),
                container.request("POST", "/models/0/invoke", photo),
                container.request("DELETE", "/models/0"),
            ]
            if statuses != [200, 200, 200]:
                sys.exit(f"cycle {number}: {statuses}")
            memory.append(container.memory("Rss"))
            if number in (0, 1, 2) or (number + 1) % 25 == 0:
                print(f"after {number + 1} loads and unloads: {memory[-1]:.1f} MB RSS", flush=True)
        print(f"last / first: {memory[-1] / memory[0]:.3f}")


def kill(arguments: argparse.Namespace) -> None:
    """Kill the worker every few seconds while clients send requests to all models."""
    with started(arguments.image, arguments.memory, _mounts(arguments)) as container:
        names = _load_all(container, arguments)
        load = Load(container, arguments.photo.read_bytes(), names, arguments.count // CLIENTS)
        kills: list[float] = []
        with load.running(CLIENTS) as clients:
            due = time.monotonic() + KILL_SECONDS
            while alive := [thread for thread in clients if thread.is_alive()]:
                alive[0].join(max(0.0, due - time.monotonic()))
                if time.monotonic() >= due:
                    due += KILL_SECONDS
                    for worker in container.processes()[1:]:  # none if the last one has not been replaced yet
                        kills.append(time.monotonic())
                        with suppress(ProcessLookupError):  # it has just ended
                            os.kill(worker, signal.SIGKILL)
        print(f"{arguments.count} requests from {CLIENTS} clients, {len(kills)} workers killed")
        print(load.report())
        if arguments.log:
            print(container.log())
        print(f"  lost per kill: {load.tally.errors.total() / max(1, len(kills)):.1f} of at most {CLIENTS} in flight")


def load(arguments: argparse.Namespace) -> None:
    """Send requests to all models for several minutes, and print the memory after each minute."""
    with started(arguments.image, arguments.memory, _mounts(arguments)) as container:
        names = _load_all(container, arguments)
        clients = Load(container, arguments.photo.read_bytes(), names)
        memory = []
        with clients.running(CLIENTS):
            for minute in range(1, arguments.minutes + 1):
                time.sleep(60)
                memory.append(container.memory("Rss"))
                print(f"minute {minute}: {memory[-1]:.1f} MB RSS", flush=True)
        print(f"last / minute 2: {memory[-1] / memory[1]:.3f}")
        print(clients.report())


def _mounts(arguments: argparse.Namespace) -> dict[str, Path]:
    return {f"/opt/ml/models/{number}": folder for number, folder in enumerate(arguments.models)}


def _load_all(container: Container, arguments: argparse.Namespace) -> list[str]:
    names = [str(number) for number in range(len(arguments.models))]
    statuses = [container.load(name, f"/opt/ml/models/{name}") for name in names]
    if set(statuses) != {200}:
        sys.exit(f"loading {names}: {statuses}")
    return names


def _print_kills(container: Container) -> None:
    killed = docker("inspect", "--format={{.State.OOMKilled}}", container.id).strip()
    lines = [line for line in container.log().splitlines() if "SIGKILL" in line]
    print(f"  OOM kills: container {killed}, workers {len(lines)}")


PARTS: dict[str, Callable[[argparse.Namespace], None]] = {"fill": fill, "cycle": cycle, "kill": kill, "load": load}
_COUNTS = {"fill": 40, "cycle": 200, "kill": 3000, "load": 0}


def main() -> None:
    """Run one part and print its results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--image", default="sagemaker-vision/inference:dev")
    parser.add_argument("--memory", default=MEMORY, help=f"memory limit of the container (default: {MEMORY})")
    parser.add_argument("--models", type=Path, nargs="+", required=True, metavar="DIR")
    parser.add_argument("--photo", type=Path, required=True, metavar="FILE")
    parser.add_argument("--count", type=int, help="models, cycles or requests (default: 40, 200 or 3000)")
    parser.add_argument("--log", action="store_true", help="print the container's log")
    parser.add_argument("--minutes", type=int, default=10)
    arguments = parser.parse_args()
    arguments.count = arguments.count or _COUNTS[arguments.part]
    PARTS[arguments.part](arguments)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
