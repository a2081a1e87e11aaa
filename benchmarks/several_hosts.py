"""Compares the images/s of two hosts and of one host: a ResNet-18 at 128 pixels with batches of 32 photos per host.

    .venvs/dev/bin/python -m benchmarks.several_hosts --data DIR [--pairs N]       (from the repository's root)
    .venvs/dev/bin/python -m benchmarks.several_hosts --data DIR --starts N

DIR has photos in a layout that `python3 -m local prepare` reads. Each host is a container with one core, so the
gradients (45 MB) cross the Docker network of one machine in each step, copied by the cores that also compute. One and
two hosts take turns. With --starts, run N jobs on two hosts with each MXNet image, and count the successful ones.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path

from local.datasets.photo_cache import PhotoCache
from local.inspection import census, settings

_CLASSIFIER: dict[str, object] = {
    "num_layers": 18,
    "image_shape": "3,128,128",
    "resize": 144,
    "mini_batch_size": 32,
    "learning_rate": 0.01,
    "optimizer": "sgd",
    "epochs": 3,
}
# The hyperparameters of each image with --starts: one epoch on small images.
_STARTS: dict[str, dict[str, object]] = {
    "image-classification": {**_CLASSIFIER, "image_shape": "3,64,64", "resize": 72, "epochs": 1},
    "object-detection": {"base_network": "resnet-18", "use_pretrained_model": 0, "image_shape": 64, "epochs": 1},
    "semantic-segmentation": {
        "backbone": "resnet-18",
        "use_pretrained_model": "False",
        "base_size": 64,
        "crop_size": 64,
        "epochs": 1,
    },
}


def main() -> None:
    """Measure images/s, or count successful jobs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="photos in any layout that `prepare` reads")
    parser.add_argument("--pairs", type=int, default=3, help="turns of one and two hosts (default: 3)")
    parser.add_argument("--starts", type=int, default=0, help="run this many jobs per image instead of measuring")
    parser.add_argument("--tag", default="dev", help="tag of the images (default: dev)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="several-hosts-") as work:
        if args.starts:
            count_starts(args.data, args.starts, args.tag, Path(work))
        else:
            measure(args.data, args.pairs, args.tag, Path(work))


class Job:
    """A training job in which each host is a container with one core."""

    def __init__(self, name: str, tag: str, data: str, hyperparameters: Mapping[str, object], work: Path) -> None:
        self._image, self._work, self._channels = f"sagemaker-vision/{name}:{tag}", work, work / name
        prepare = [sys.executable, "-m", "local", "prepare", name, "--data", data, "--out", self._channels]
        subprocess.run(prepare, check=True, stdout=subprocess.DEVNULL)
        counts = census.take(name, self._channels, settings.defaults(name), PhotoCache()).hyperparameters
        self.photos = int(counts["num_training_samples"])
        self._hyperparameters = {**counts, **hyperparameters}

    def run(self, count: int) -> list[tuple[int, str]]:
        """Train on `count` hosts; return their exit codes and logs."""
        network = f"several-hosts-{uuid.uuid4().hex[:8]}"
        hosts = [f"{network}-{number}" for number in range(1, count + 1)]
        _docker("network", "create", network)
        try:
            for core, host in enumerate(hosts):
                self._start(network, hosts, host, core)
            codes = [int(_docker("wait", host)) for host in hosts]
            return [(code, _docker("logs", host)) for code, host in zip(codes, hosts, strict=True)]
        finally:
            subprocess.run(["docker", "rm", "--force", "--volumes", *hosts], check=False, stdout=subprocess.DEVNULL)
            _docker("network", "rm", network)

    def _start(self, network: str, hosts: list[str], host: str, core: int) -> None:
        names = sorted(path.name for path in self._channels.iterdir() if path.is_dir())
        config = self._work / host
        config.mkdir()
        files = {
            "hyperparameters": {name: str(value) for name, value in self._hyperparameters.items()},
            "inputdataconfig": {name: {} for name in names},
            "resourceconfig": {"current_host": host, "hosts": hosts, "network_interface_name": "eth0"},
        }
        for name, content in files.items():
            (config / f"{name}.json").write_text(json.dumps(content))
        mounts = [f"--volume={config}:/opt/ml/input/config:ro"]
        mounts += [f"--volume={self._channels / name}:/opt/ml/input/data/{name}:ro" for name in names]
        limits = ["--cpus=1", f"--cpuset-cpus={core}", f"--network={network}"]
        _docker("run", "--detach", f"--name={host}", *limits, *mounts, self._image, "train")


def measure(data: str, pairs: int, tag: str, work: Path) -> None:
    """Print the images/s of one host and of two hosts, which take turns, and their ratio."""
    job, ratios = Job("image-classification", tag, data, _CLASSIFIER, work), []
    for pair in range(1, pairs + 1):
        one, two = (_rate(job, count) for count in (1, 2))
        ratios.append(two / one)
        print(f"pair {pair}: one {one:.1f} images/s, two {two:.1f} images/s, ratio {ratios[-1]:.2f}", flush=True)
    print(f"median ratio {statistics.median(ratios):.2f}")


def _rate(job: Job, count: int) -> float:
    """Return the combined images/s of all hosts, excluding the first epoch."""
    code, log = job.run(count)[0]
    if code:
        sys.exit(f"the job failed with exit code {code}: {log[-1000:]}")
    seconds = [float(text) for text in re.findall(r"Time cost=(\S+)", log)][1:]
    return job.photos * len(seconds) / sum(seconds)


def count_starts(data: str, starts: int, tag: str, work: Path) -> None:
    """Print for each MXNet image how many jobs on two hosts succeed."""
    for name, hyperparameters in _STARTS.items():
        job, successes = Job(name, tag, data, hyperparameters, work), 0
        for number in range(1, starts + 1):
            results = job.run(2)
            succeeded = [code for code, _ in results] == [0, 0]
            successes += succeeded
            outcome = "succeeded" if succeeded else [(code, log[-500:]) for code, log in results]
            print(f"{name} {number}: {outcome}", flush=True)
        print(f"{name}: {successes} of {starts} jobs on two hosts succeeded", flush=True)


def _docker(*arguments: str) -> str:
    return subprocess.run(
        ["docker", *arguments], check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ).stdout.strip()


if __name__ == "__main__":
    main()
