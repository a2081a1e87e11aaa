"""Many models in one container: how many fit, what unloading gives back, what killed workers cost, a long load.

    python benchmarks/serving_many.py fill --image sagemaker-vision/inference:dev --models DIR --photo FILE
    python benchmarks/serving_many.py cycle --image IMAGE --models DIR --photo FILE
    python benchmarks/serving_many.py kill --image IMAGE --models DIR DIR DIR --photo FILE
    python benchmarks/serving_many.py load --image IMAGE --models DIR DIR DIR --photo FILE --minutes 10

Standard library and Docker only, as a user who may read all of /proc. Each DIR holds model.json and model.onnx.
"""

import argparse
import http.client
import json
import os
import random
import shutil
import signal
import subprocess
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
from benchmarks.serving_load import Tally, _percentiles

MEMORY = "1g"
CLIENTS = 8
KILL_SECONDS = 5
PING_SECONDS = 0.05
READY_SECONDS = 60


@dataclass
class Container:
    """A multi-model server under test, on a port of this machine."""

    id: str
    host: str
    port: int

    def ask(self, method: str, path: str, body: bytes | None = None, timeout: float = 120) -> int:
        """The status of a request on a new connection. Raises OSError, HTTPException."""
        with closing(http.client.HTTPConnection(self.host, self.port, timeout=timeout)) as connection:
            connection.request(method, path, body)
            response = connection.getresponse()
            response.read()
            return response.status

    def load(self, name: str, folder: str) -> int:
        """Load a model."""
        return self.ask("POST", "/models", json.dumps({"model_name": name, "url": folder}).encode())

    def processes(self) -> list[int]:
        """The main process, and then its worker."""
        main = int(docker("inspect", "--format={{.State.Pid}}", self.id))
        children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        return [main, *map(int, children)]

    def memory(self, key: str = "Pss") -> float:
        """Megabytes of the main process and its worker together."""
        texts = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in self.processes()]
        lines = [line.split() for text in texts for line in text.splitlines()]
        return sum(int(words[1]) for words in lines if words[0] == f"{key}:") / 1000


@dataclass
class Load:
    """Clients that call random ones of `names` without a pause, until `stop`."""

    container: Container
    photo: bytes
    names: list[str]
    most: int | None = None
    """Requests of each client."""
    tally: Tally = field(default_factory=Tally)
    lost: list[float] = field(default_factory=list)
    """When connections were lost."""
    stop: threading.Event = field(default_factory=threading.Event)

    def client(self) -> None:
        """One client, on a connection that it keeps."""
        connection, sent = http.client.HTTPConnection(self.container.host, self.container.port, timeout=120), 0
        while not self.stop.is_set() and (self.most is None or sent < self.most):
            begun = time.monotonic()
            try:
                connection.request("POST", f"/models/{random.choice(self.names)}/invoke", self.photo)
                response = connection.getresponse()
                response.read()
            except (OSError, http.client.HTTPException) as error:
                self.tally.error(error)
                self.lost.append(begun)
                connection.close()
            else:
                self.tally.answer(response.status, time.monotonic() - begun)
            sent += 1
        connection.close()

    def pinger(self) -> None:
        """A health check, on a new connection each time."""
        while not self.stop.wait(PING_SECONDS):
            begun = time.monotonic()
            try:
                status = self.container.ask("GET", "/ping")
            except (OSError, http.client.HTTPException) as error:
                self.pings.error(error)
            else:
                self.pings.answer(status, time.monotonic() - begun)

    pings: Tally = field(default_factory=Tally)

    @contextmanager
    def running(self, clients: int) -> Iterator[list[threading.Thread]]:
        """So many clients and a pinger, while the block runs."""
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
        """What the clients saw."""
        lines = [f"  invoke {status}: {len(s)}, {_percentiles(s)}" for status, s in sorted(self.tally.seconds.items())]
        lines += [f"  /ping {status}: {len(s)}, {_percentiles(s)}" for status, s in sorted(self.pings.seconds.items())]
        lines.append(f"  connections lost: {dict(self.tally.errors)}, of /ping {dict(self.pings.errors)}")
        return "\n".join(lines)


def fill(arguments: argparse.Namespace) -> None:
    """Load copies of the first model until long after the container is full, under a light load."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(arguments.count):  # copies, so that the cache of files counts as it does in earnest
            shutil.copytree(arguments.models[0], Path(folder) / str(number) / "model")
        with started(arguments, {"/opt/ml/models": Path(folder)}) as container:
            statuses, seconds = Counter[int](), []
            load = Load(container, arguments.photo.read_bytes(), [])
            load.names.append("0")
            statuses[container.load("0", "/opt/ml/models/0/model")] += 1
            with load.running(2):
                for number in range(1, arguments.count):
                    begun = time.monotonic()
                    status = container.load(str(number), f"/opt/ml/models/{number}/model")
                    statuses[status] += 1
                    if status == 200:
                        seconds.append(time.monotonic() - begun)
                        load.names.append(str(number))
            print(f"{arguments.count} loads: {dict(statuses)}, of a load {_percentiles(seconds)}")
            print(f"  {container.memory():.0f} MB PSS with {len(load.names)} models")
            answers = Counter(container.ask("POST", f"/models/{name}/invoke", load.photo) for name in load.names)
            print(f"  every loaded model asked once more: {dict(answers)}")
            print(load.report())
            _say_kills(container)


def cycle(arguments: argparse.Namespace) -> None:
    """Load, ask and unload the first model again and again."""
    with started(arguments, {"/opt/ml/models/0": arguments.models[0]}) as container:
        photo, seen = arguments.photo.read_bytes(), []
        for number in range(arguments.count):
            statuses = [
                container.load("0", "/opt/ml/models/0"),
                container.ask("POST", "/models/0/invoke", photo),
                container.ask("DELETE", "/models/0"),
            ]
            if statuses != [200, 200, 200]:
                sys.exit(f"cycle {number}: {statuses}")
            seen.append(container.memory("Rss"))
            if number in (0, 1, 2) or (number + 1) % 25 == 0:
                print(f"after {number + 1} loads and unloads: {seen[-1]:.1f} MB RSS", flush=True)
        print(f"last over first: {seen[-1] / seen[0]:.3f}")


def kill(arguments: argparse.Namespace) -> None:
    """Kill the worker every few seconds while clients call all models."""
    with started(arguments, _mounts(arguments)) as container:
        names = _load_all(container, arguments)
        load = Load(container, arguments.photo.read_bytes(), names, arguments.count // CLIENTS)
        kills: list[float] = []
        with load.running(CLIENTS) as clients:
            due = time.monotonic() + KILL_SECONDS
            while alive := [thread for thread in clients if thread.is_alive()]:
                alive[0].join(max(0.0, due - time.monotonic()))
                if time.monotonic() >= due:
                    due += KILL_SECONDS
                    for worker in container.processes()[1:]:  # none where the last one's death is not yet noticed
                        kills.append(time.monotonic())
                        with suppress(ProcessLookupError):  # it has just died of the last one
                            os.kill(worker, signal.SIGKILL)
        print(f"{arguments.count} requests of {CLIENTS} clients, {len(kills)} workers killed")
        print(load.report())
        if arguments.log:
            subprocess.run(["docker", "logs", container.id], stderr=subprocess.STDOUT, check=True)
        print(f"  lost for each kill: {len(load.lost) / max(1, len(kills)):.1f} of at most {CLIENTS} in flight")


def load(arguments: argparse.Namespace) -> None:
    """Clients on all models for some minutes; the memory of each."""
    with started(arguments, _mounts(arguments)) as container:
        names = _load_all(container, arguments)
        clients = Load(container, arguments.photo.read_bytes(), names)
        seen = []
        with clients.running(CLIENTS):
            for minute in range(1, arguments.minutes + 1):
                time.sleep(60)
                seen.append(container.memory("Rss"))
                print(f"minute {minute}: {seen[-1]:.1f} MB RSS", flush=True)
        print(f"last over minute 2: {seen[-1] / seen[1]:.3f}")
        print(clients.report())


def _mounts(arguments: argparse.Namespace) -> dict[str, Path]:
    return {f"/opt/ml/models/{number}": folder for number, folder in enumerate(arguments.models)}


def _load_all(container: Container, arguments: argparse.Namespace) -> list[str]:
    names = [str(number) for number in range(len(arguments.models))]
    statuses = [container.load(name, f"/opt/ml/models/{name}") for name in names]
    if set(statuses) != {200}:
        sys.exit(f"loading {names}: {statuses}")
    return names


def _say_kills(container: Container) -> None:
    killed = docker("inspect", "--format={{.State.OOMKilled}}", container.id).strip()
    workers = subprocess.run(["docker", "logs", container.id], capture_output=True, text=True, check=True)
    lines = [line for line in (workers.stdout + workers.stderr).splitlines() if "SIGKILL" in line]
    print(f"  OOM kills: container {killed}, workers {len(lines)}")


@contextmanager
def started(arguments: argparse.Namespace, mounts: dict[str, Path]) -> Iterator[Container]:
    """A container of the image in multi-model mode, ready, while the block runs."""
    volumes = [f"--volume={folder.resolve()}:{path}:ro" for path, folder in mounts.items()]
    options = [f"--memory={arguments.memory}", f"--memory-swap={arguments.memory}", "--publish=127.0.0.1::8080"]
    id_ = docker("run", "--detach", "--env=SAGEMAKER_MULTI_MODEL=true", *options, *volumes, arguments.image, "serve")
    id_ = id_.strip()
    try:
        host, port = docker("port", id_, "8080").split()[0].split(":")
        container = Container(id_, host, int(port))
        _wait_until_ready(container)
        yield container
    except (OSError, http.client.HTTPException):
        subprocess.run(["docker", "logs", id_], stderr=subprocess.STDOUT, check=False)
        raise
    finally:
        docker("rm", "--force", "--volumes", id_)


def _wait_until_ready(container: Container) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        try:
            if container.ask("GET", "/ping") == 200:
                return
        except (OSError, http.client.HTTPException):
            time.sleep(0.05)  # not bound yet
    sys.exit(f"The container did not answer /ping within {READY_SECONDS} s: docker logs {container.id}")


def docker(*arguments: str) -> str:
    """What a docker command writes. Ends the program when it fails."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"docker {' '.join(arguments)}: {done.stderr}")
    return done.stdout


PARTS: dict[str, Callable[[argparse.Namespace], None]] = {"fill": fill, "cycle": cycle, "kill": kill, "load": load}
_COUNTS = {"fill": 40, "cycle": 200, "kill": 3000, "load": 0}


def main() -> None:
    """Run one part and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--image", default="sagemaker-vision/inference:dev")
    parser.add_argument("--memory", default=MEMORY, help=f"of the container (default: {MEMORY})")
    parser.add_argument("--models", type=Path, nargs="+", required=True, metavar="DIR")
    parser.add_argument("--photo", type=Path, required=True, metavar="FILE")
    parser.add_argument("--count", type=int, help="models, cycles or requests; default by part: 40, 200, 3000")
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
