"""Puts the server under load: N clients send images without a pause, while the latency of /ping is measured.

    python benchmarks/serving_load.py --model-dir DIR --images DIR --clients 64
    python benchmarks/serving_load.py --url http://127.0.0.1:8080 --images DIR

Standard library only. With --model-dir, this starts the server natively and stops it at the end. The load generator
runs on the same cores as the server, so requests/s are a lower bound, and only ratios within a run are meaningful.
"""

import argparse
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PING_PERIOD = 0.05
START_SECONDS = 180  # a Keras model is converted first


@dataclass
class Tally:
    """The clients' results: the durations in seconds by status, and the number of connection errors by name."""

    seconds: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def response(self, status: int, seconds: float) -> None:
        with self.lock:
            self.seconds[status].append(seconds)

    def error(self, error: Exception) -> None:
        with self.lock:
            self.errors[type(error).__name__] += 1


def main() -> int:
    """Print one report for each number of clients."""
    arguments = _parser().parse_args()
    images = read_images(arguments.images)
    with server(arguments) as address:
        for clients in arguments.clients:
            invocations, pings = load(address, images, clients, arguments)
            print(report(clients, invocations, pings, arguments.seconds), flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--url", help="a running server, e.g. http://127.0.0.1:8080")
    target.add_argument("--model-dir", type=Path, help="start a server for this folder with model.json and model.onnx")
    parser.add_argument(
        "--python", type=Path, default=ROOT / ".venvs/serve/bin/python", help="the server's interpreter"
    )
    parser.add_argument("--images", type=Path, required=True, help="an image file, or a folder of .jpg and .png files")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64], help="concurrent clients of each run")
    parser.add_argument("--seconds", type=float, default=15, help="length of a run")
    parser.add_argument("--pause", type=float, default=0, metavar="S", help="seconds a client waits after a 503")
    parser.add_argument("--reconnect", action="store_true", help="open a new connection for every request")
    return parser


def read_images(path: Path) -> list[bytes]:
    """Return the bytes of the image, or of the first 32 images in the folder."""
    files = sorted(path.glob("*.[jp][pn]g"))[:32] if path.is_dir() else [path]
    if not files:
        sys.exit(f"--images {path} has no .jpg or .png file; give a folder that has one.")
    return [file.read_bytes() for file in files]


@contextmanager
def server(arguments: argparse.Namespace) -> Iterator[tuple[str, int]]:
    """Yield host and port of the server at --url, or of a server for --model-dir that runs while the block runs."""
    if arguments.url:
        parts = urllib.parse.urlsplit(arguments.url)
        yield parts.hostname or "127.0.0.1", parts.port or 80
        return
    with started(arguments.model_dir, arguments.python) as (address, _):
        yield address


@contextmanager
def started(model_dir: Path, python: str, checkout: Path = ROOT) -> Iterator[tuple[tuple[str, int], int]]:
    """Run a server from `checkout` while the block runs, and yield its host and port, and its process id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = probe.getsockname()
    with tempfile.TemporaryDirectory() as base:
        (Path(base) / "model").symlink_to(model_dir.resolve())
        environment = os.environ | {"SAGEMAKER_BASE_DIR": base, "SAGEMAKER_BIND_TO_PORT": str(address[1])}
        environment["PYTHONPATH"] = str(checkout)
        start = time.perf_counter()
        process = subprocess.Popen([python, "-m", "serve"], env=environment, stdout=sys.stderr)
        try:
            _wait_until_ready(address, process)
            print(f"/ping returned 200 after {time.perf_counter() - start:.2f} s", flush=True)
            yield address, process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)


def _wait_until_ready(address: tuple[str, int], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"The server exited with code {process.returncode} before it was ready; see its log above.")
        connection = http.client.HTTPConnection(*address, timeout=2)
        try:
            if _exchange(connection, "GET", "/ping", None) == 200:
                return
        except OSError:
            pass  # the port is not bound yet
        finally:
            connection.close()
        time.sleep(0.02)
    sys.exit(f"/ping did not return 200 within {START_SECONDS} s; see the server's log above.")


def load(
    address: tuple[str, int], images: Sequence[bytes], clients: int, arguments: argparse.Namespace
) -> tuple[Tally, Tally]:
    """Run `clients` client threads and a pinging one; return both tallies. Responses after the end do not count."""
    invocations, pings = Tally(), Tally()
    end = time.monotonic() + arguments.seconds
    threads = [
        threading.Thread(target=_client, args=(address, images, number, end, arguments, invocations), daemon=True)
        for number in range(clients)
    ]
    threads.append(threading.Thread(target=_pinger, args=(address, end, pings), daemon=True))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return invocations, pings


def _client(
    address: tuple[str, int],
    images: Sequence[bytes],
    number: int,
    end: float,
    arguments: argparse.Namespace,
    tally: Tally,
) -> None:
    connection = http.client.HTTPConnection(*address, timeout=60)
    while time.monotonic() < end:
        status = timed(connection, "POST", "/invocations", images[number % len(images)], end, tally)
        if arguments.reconnect or status is None:
            connection.close()
        if status == 503 and arguments.pause:
            time.sleep(arguments.pause)
        number += 1
    connection.close()


def _pinger(address: tuple[str, int], end: float, tally: Tally) -> None:
    while time.monotonic() < end:
        connection = http.client.HTTPConnection(*address, timeout=60)  # a new one each time, like health checks
        timed(connection, "GET", "/ping", None, end, tally)
        connection.close()
        time.sleep(PING_PERIOD)


def timed(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None, end: float, tally: Tally
) -> int | None:
    """Send a request, record the response unless it comes after `end`, and return its status, or None on an error."""
    start = time.monotonic()
    try:
        status = _exchange(connection, method, path, body)
    except (OSError, http.client.HTTPException) as error:
        tally.error(error)
        return None
    if time.monotonic() <= end or path == "/ping":
        tally.response(status, time.monotonic() - start)
    return status


def _exchange(connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None) -> int:
    connection.request(method, path, body, {"Content-Type": "image/jpeg"} if body else {})
    response = connection.getresponse()
    response.read()
    return response.status


def report(clients: int, invocations: Tally, pings: Tally, seconds: float) -> str:
    """Return a few lines about a run, with times in milliseconds."""
    lines = [f"{clients} clients, {seconds:g} s"]
    for status, times in sorted(invocations.seconds.items()):
        lines.append(f"  /invocations {status}: {len(times)} ({len(times) / seconds:.1f}/s), {percentiles(times)}")
    for status, times in sorted(pings.seconds.items()):
        lines.append(f"  /ping {status}: {len(times)}, {percentiles(times)}")
    errors = invocations.errors + pings.errors
    lines.append(f"  connections lost: {errors.total()}" + "".join(f", {n} {name}" for name, n in errors.items()))
    return "\n".join(lines)


def percentiles(times: Sequence[float]) -> str:
    """Return p50, p99 and the maximum as text. Percentiles use the nearest-rank method."""
    ranked = sorted(times)
    values = {name: ranked[max(0, -(-len(ranked) * per // 100) - 1)] for name, per in (("p50", 50), ("p99", 99))}
    values["max"] = ranked[-1]
    return ", ".join(f"{name} {value * 1000:.0f} ms" for name, value in values.items())


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
