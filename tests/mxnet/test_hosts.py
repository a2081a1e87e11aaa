"""Jobs of the MXNet algorithms on two hosts, which are two processes on this machine."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import interrupting, jobs
from tests.environments import REPOSITORY, python
from tests.mxnet import two_hosts
from train import state

ALGORITHMS = [name for name, algorithm in interrupting.ALGORITHMS.items() if algorithm.environment == "mxnet"]
pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_two_hosts_train_like_one_process_that_averages_both_gradients(name: str, tmp_path: Path) -> None:
    files = [tmp_path / f"{rank}.npz" for rank in (0, 1)]
    environ = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    program = [python("mxnet"), "-m", "tests.mxnet.two_hosts", name]
    with jobs.ports_of_several_hosts():
        running = [
            subprocess.Popen([*program, str(rank), file], cwd=REPOSITORY, env=environ)
            for rank, file in enumerate(files)
        ]
        assert [process.wait(timeout=300) for process in running] == [0, 0]
    first, second = (dict(np.load(file)) for file in files)
    for parameter, value in first.items():
        np.testing.assert_array_equal(value, second[parameter], parameter)
    expected = two_hosts.in_one_process(name)[0]
    assert first.keys() == expected.keys()
    for parameter, value in first.items():
        np.testing.assert_allclose(value, expected[parameter], rtol=1e-5, atol=1e-5, err_msg=parameter)


def lay_out(name: str, folder: Path, hyperparameters: dict[str, Any], checkpoints: bool = False) -> list[Path]:
    """Lay out a small job on two hosts with the same 12 training and 5 validation photos. Return the folders."""
    algorithm = interrupting.ALGORITHMS[name]
    folders = [algorithm.lay_out(folder / host, 12, 5) for host in ("one", "two")]
    small = {"num_training_samples": 12, "mini_batch_size": 3, "epochs": 2, "checkpoint_frequency": None}
    for base in folders:
        jobs.configure(base, small | hyperparameters, defaults=algorithm.hyperparameters)
        if checkpoints:
            (base / "checkpoints").mkdir()
    return folders


def run(name: str, folders: Sequence[Path], more: Mapping[str, str] | None = None, **options: Any) -> list[jobs.Done]:
    """Run the job on both hosts with a checkpoint after each epoch. `more` holds additional environment variables."""
    program, environ = ("tests.trouble", "often"), {"VISION_ALGORITHM": name, **(more or {})}
    return jobs.run_on_two_hosts(folders, environ=environ, program=program, **options)


def measured(done: jobs.Done) -> list[str]:
    """Return the log lines about metrics without the host names."""
    lines = [line for line in done.lines if re.search(r"rain-accuracy|alidation-|quality_metric", line)]
    return [re.sub(r"host[=:] ?[^,]+,", "", line) for line in lines if "Storing" not in line and "Updating" not in line]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_two_hosts_log_the_same_metrics_and_only_the_first_writes_the_model(name: str, tmp_path: Path) -> None:
    both = run(name, lay_out(name, tmp_path, {}))
    assert [(done.code, done.failure) for done in both] == [(0, "")] * 2
    assert len(measured(both[0])) >= 4
    assert measured(both[0]) == measured(both[1])
    assert "model.onnx" in os.listdir(both[0].model)
    assert os.listdir(both[1].model) == []


def test_two_hosts_with_two_devices_each_train_together(tmp_path: Path) -> None:
    name = "image-classification"
    folders = lay_out(name, tmp_path, {"mini_batch_size": 4})
    both = run(name, folders, more={"VISION_DEVICES": "cpu:0,cpu:1"})
    assert [(done.code, done.failure) for done in both] == [(0, "")] * 2
    assert measured(both[0]) == measured(both[1])


def photos(base: Path, channel: str) -> list[Path]:
    """Return the photos of a channel in order."""
    return sorted(path for path in (base / "input" / "data" / channel).rglob("*") if path.is_file())


def shard(folders: Sequence[Path], channel: str, kept: Callable[[int], int]) -> None:
    """Keep each photo of a channel on only one host. `kept` maps the photo's number to the host's rank."""
    for rank, base in enumerate(folders):
        for number, photo in enumerate(photos(base, channel)):
            if kept(number) != rank:
                photo.unlink()
    for base in folders:
        config = base / "input" / "config" / "inputdataconfig.json"
        channels = json.loads(config.read_text())
        channels[channel]["S3DistributionType"] = "ShardedByS3Key"
        config.write_text(json.dumps(channels))


def test_two_killed_hosts_with_a_sharded_channel_resume_bit_for_bit(tmp_path: Path) -> None:
    name, epochs = "image-classification", {"epochs": 4}
    whole, killed = (lay_out(name, tmp_path / run, epochs, checkpoints=True) for run in ("whole", "killed"))
    for folders in (whole, killed):  # gives the hosts different numbers of photos
        shard(folders, "train", lambda number: int(number < 4))
    assert [done.code for done in run(name, whole)] == [0, 0]
    first = run(name, killed, until="Epoch[2] Train-accuracy", number=signal.SIGKILL)
    assert [done.code for done in first] == [-signal.SIGKILL] * 2
    assert list((killed[1] / "checkpoints").iterdir()) == []
    shutil.copytree(killed[0] / "checkpoints", killed[1] / "checkpoints", dirs_exist_ok=True)  # as SageMaker does
    again = run(name, killed)
    assert [(done.code, done.failure) for done in again] == [(0, "")] * 2
    assert "Resuming from" in again[1].log
    last = [state.read(base / "checkpoints" / "checkpoint-0004.state")["trained"] for base in (whole[0], killed[0])]
    for parameter, value in last[0]["step"]["parameters"].items():
        np.testing.assert_array_equal(value, last[1]["step"]["parameters"][parameter], parameter)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_sharded_channels_are_trained_and_evaluated_as_a_whole(name: str, tmp_path: Path) -> None:
    folders = lay_out(name, tmp_path, {"mini_batch_size": 2})
    shard(folders, "train", lambda number: int(number < 3))
    shard(folders, "validation", lambda number: int(number < 2))
    both = run(name, folders)
    assert [(done.code, done.failure) for done in both] == [(0, "")] * 2
    for done, images in zip(both, ("9 images", "3 images"), strict=True):
        assert f"channel 'train' is sharded: this host has {images}" in done.lines
        assert "num_training_samples" not in "".join(line for line in done.lines if "WARNING" in line)
    assert measured(both[0]) == measured(both[1])


def test_a_sharded_channel_without_files_for_a_host_fails_the_job_on_both_hosts(tmp_path: Path) -> None:
    folders = lay_out("image-classification", tmp_path, {})
    shard(folders, "train", lambda number: 0)
    both = run("image-classification", folders)
    reason = "channel 'train' is ShardedByS3Key and has no file for this host: it needs at least 2 files"
    assert [done.code for done in both] == [2, 2]
    assert both[1].failure.startswith(f"ClientError: {reason}")
    assert both[0].failure.startswith(f"ClientError: host 127.0.0.1 of the job failed: {reason}")


def test_hosts_with_different_photos_in_an_unsharded_channel_are_rejected(tmp_path: Path) -> None:
    folders = lay_out("image-classification", tmp_path, {"unreadable_tolerance": 1})
    photos(folders[1], "train")[0].unlink()
    both = run("image-classification", folders)
    assert [done.code for done in both] == [2, 2]
    for done in both:
        assert "channel 'train' has different images on different hosts (1" in done.failure


# ---- failures and stops ---------------------------------------------------------------------------------------------


def children(process: int) -> dict[str, int]:
    """Return the process ids of a host's scheduler and parameter server by role."""
    by_role = {}
    for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
        environ = Path(f"/proc/{child}/environ").read_bytes().decode().split("\0")
        roles = [value.removeprefix("DMLC_ROLE=") for value in environ if value.startswith("DMLC_ROLE=")]
        by_role.update(dict.fromkeys(roles, int(child)))
    return by_role


def kill(role: str, number: int, process: int) -> None:
    """Send a signal to a host's process, the `worker`, or to its scheduler or parameter server."""
    os.kill(process if role == "worker" else children(process)[role], number)


Act = Callable[[int], None]


def interrupted(folder: Path, on_first: Act | None, on_second: Act | None) -> list[jobs.Done]:
    """Run a job on two hosts that would take minutes, and interfere after the second epoch."""
    folders = lay_out("image-classification", folder, {"epochs": 5000})
    after = {"until": "Epoch[1] Validation-accuracy"}
    first = after | {"number": on_first} if on_first else {}
    second = after | {"number": on_second} if on_second else {"until": None}
    started = time.monotonic()
    both = run("image-classification", folders, second=second, **first)
    print(f"ended after {time.monotonic() - started:.0f} s")
    return both


@pytest.mark.parametrize(
    ("role", "where"),
    [("scheduler", "localhost"), ("parameter server", "localhost"), ("parameter server", "127.0.0.1")],
)
def test_both_hosts_fail_and_name_a_process_of_the_parameter_server_that_dies(
    role: str, where: str, tmp_path: Path
) -> None:
    dies = partial(kill, role.split()[-1], signal.SIGKILL)
    both = interrupted(tmp_path, *((dies, None) if where == "localhost" else (None, dies)))
    reason = f"host {where} of the job failed: its {role} ended with signal 9"
    assert [(done.code, done.failure.splitlines()[0]) for done in both] == [(1, reason)] * 2


def test_the_first_host_fails_and_names_the_second_if_that_is_killed(tmp_path: Path) -> None:
    first, second = interrupted(tmp_path, None, partial(kill, "worker", signal.SIGKILL))
    assert (first.code, second.code) == (1, -signal.SIGKILL)
    assert re.match(r"host 127\.0\.0\.1 of the job was lost \(.*\); see its log", first.failure), first.failure


def test_the_second_host_fails_and_names_the_first_if_that_is_killed(tmp_path: Path) -> None:
    first, second = interrupted(tmp_path, partial(kill, "worker", signal.SIGKILL), None)
    assert (first.code, second.code) == (-signal.SIGKILL, 1)
    assert re.match(r"host localhost of the job was lost \(.*\); see its log", second.failure), second.failure


def test_an_unresponsive_host_counts_as_lost_within_a_minute(tmp_path: Path) -> None:
    folders = lay_out("image-classification", tmp_path, {"epochs": 5000})
    jobs.name_hosts(folders)
    frozen: list[tuple[int, float]] = []

    def freeze(process: int) -> None:
        os.kill(process, signal.SIGSTOP)
        frozen.append((process, time.monotonic()))

    with jobs.ports_of_several_hosts(), ThreadPoolExecutor(2) as pool:
        first = pool.submit(jobs.run, folders[0])
        second = pool.submit(jobs.run, folders[1], until="Epoch[1] Validation-accuracy", number=freeze)
        done = first.result()
        [(process, since)] = frozen
        seconds = time.monotonic() - since
        os.kill(process, signal.SIGKILL)
        second.result()
    reason = "host 127.0.0.1 of the job was lost (no message for 30 seconds); see its log"
    assert (done.code, done.failure.splitlines()[0]) == (1, reason)
    assert seconds < 60


def test_stopping_one_host_stops_both_and_keeps_the_best_model(tmp_path: Path) -> None:
    first, second = interrupted(tmp_path, None, partial(kill, "worker", signal.SIGTERM))
    assert [(done.code, done.failure) for done in (first, second)] == [(0, "")] * 2
    assert "Host 127.0.0.1 was asked to stop, so this one stops too" in first.lines
    assert any(line.startswith("Check of model.onnx") for line in first.lines)


def test_stopping_one_host_before_the_first_epoch_ends_both_without_a_model(tmp_path: Path) -> None:
    folders = lay_out("image-classification", tmp_path, {})
    stopped = {"until": "All hosts are connected", "number": signal.SIGTERM}
    both = run("image-classification", folders, second=stopped)
    assert [(done.code, done.failure) for done in both] == [(0, "")] * 2
    assert any("before any epoch was finished" in line for line in both[0].lines)
    assert not (both[0].model / "model.onnx").exists()
