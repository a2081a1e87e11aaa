"""The shared helpers of a job: threads, log lines, metrics, prefetching, the cache, and stop requests."""

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from serve.machine import cpu_count
from serve.preprocess import UnreadableImage
from train import log
from train.classification import metrics
from train.data import samples
from train.errors import UserError
from train.job import threads


def test_thread_variables_are_set_unless_the_user_has_set_them() -> None:
    environ = {"OMP_NUM_THREADS": "7"}
    message = threads.set_threads(environ)
    assert environ == {
        "OMP_NUM_THREADS": "7",
        "OPENBLAS_NUM_THREADS": str(cpu_count()),
        "MKL_NUM_THREADS": str(cpu_count()),
        "TF_NUM_INTRAOP_THREADS": str(cpu_count()),
        "TF_NUM_INTEROP_THREADS": str(cpu_count()),
    }
    assert "OMP_NUM_THREADS=7" in message


def test_a_log_line_has_the_built_in_algorithms_prefix_and_is_flushed_to_standard_output() -> None:
    statement = "log.LOG.info('Epoch[0] Train-accuracy=%f', 1 / 3)"
    code = f"import os; from train import log; log.configure(); {statement}; os._exit(0)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert re.fullmatch(
        r"\[\d\d/\d\d/\d{4} \d\d:\d\d:\d\d INFO \d+\] Epoch\[0\] Train-accuracy=0\.333333\n", result.stdout
    )


def test_a_file_name_that_is_not_utf8_is_logged_escaped() -> None:
    code = "import os; from train import log; log.configure(); log.LOG.info(os.fsdecode(b'caf\\xe9.jpg'))"
    strict = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=strict)
    assert result.stdout.endswith("] caf\\udce9.jpg\n")
    assert result.stderr == ""


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00:00"), (59.6, "0:01:00"), (3661, "1:01:01"), (-3, "0:00:00")])
def test_a_duration_is_written_as_hours_minutes_and_seconds(seconds: float, text: str) -> None:
    assert log.duration(seconds) == text


class Clock:
    """A clock that stands still until the test advances it."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that replaces time.monotonic in this test."""
    replacement = Clock()
    monkeypatch.setattr(log.time, "monotonic", replacement)
    return replacement


def test_a_line_is_due_every_nth_batch_and_not_at_the_first(clock: Clock) -> None:
    interval = log.LogInterval(20)
    assert [count for count in range(61) if interval.due(count)] == [20, 40, 60]


def test_a_line_is_due_after_twenty_seconds_without_one(clock: Clock) -> None:
    interval, due = log.LogInterval(20), []
    for count in range(25):  # 9 seconds each
        clock.now += 9
        if interval.due(count):
            due.append(count)
    assert due == [2, 5, 8, 11, 14, 17, 20, 23]


def test_a_slow_first_batch_is_logged(clock: Clock) -> None:
    interval = log.LogInterval(20)
    clock.now += 20
    assert interval.due(0)


PROBABILITIES = np.array([[0.7, 0.2, 0.1], [0.2, 0.3, 0.5], [0.4, 0.4, 0.2]], np.float32)


def test_accuracy_counts_the_most_probable_class() -> None:
    assert metrics.correct(PROBABILITIES, np.array([0, 1, 0])).tolist() == [1.0, 0.0, 1.0]


def test_accuracy_of_several_labels_is_the_fraction_of_correct_ones() -> None:
    labels = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0]], np.float32)
    assert metrics.correct(PROBABILITIES, labels).tolist() == [1.0, pytest.approx(1 / 3), 1.0]


def test_top_k_accuracy_counts_labels_among_the_k_most_probable_and_ties_count_for_the_label() -> None:
    assert metrics.top_k_correct(PROBABILITIES, np.array([2, 0, 1]), 2).tolist() == [0.0, 0.0, 1.0]
    assert metrics.top_k_correct(PROBABILITIES, np.array([2, 0, 1]), 3).tolist() == [1.0, 1.0, 1.0]


def test_batches_hold_every_sample_once_and_the_last_is_filled_from_the_beginning() -> None:
    batches = samples.Batches(lambda indices, rng: indices.tolist(), count=7, size=3, seed=1)
    epoch = list(batches.epoch(0))
    flat = [index for batch in epoch for index in batch]
    assert (len(batches), [len(batch) for batch in epoch]) == (3, [3, 3, 3])
    assert sorted(flat[:7]) == list(range(7))
    assert flat[7:] == flat[:2]


def test_batches_are_the_same_for_the_same_seed_and_epoch_and_differ_otherwise() -> None:
    def epoch(seed: int, number: int) -> list[float]:
        batches = samples.Batches(lambda indices, rng: (indices.tolist(), rng.random()), count=20, size=5, seed=seed)
        return list(batches.epoch(number))

    assert epoch(1, 0) == epoch(1, 0)
    assert epoch(1, 0) != epoch(1, 1)
    assert epoch(1, 0) != epoch(2, 0)


def test_prefetched_items_arrive_in_order_and_at_most_depth_are_made_in_advance() -> None:
    made: list[int] = []
    lock = threading.Lock()

    def make(number: int) -> int:
        with lock:
            made.append(number)
        return number

    for number in samples.prefetch(make, 20, threads=3, depth=4):
        with lock:
            assert len(made) <= number + 1 + 4
    assert sorted(made) == list(range(20))


def test_an_error_while_prefetching_reaches_the_consumer() -> None:
    with pytest.raises(ZeroDivisionError):
        list(samples.prefetch(lambda i: 1 // (3 - i), 10, threads=2, depth=4))


def test_the_cache_keeps_what_fits_and_reads_the_rest_again() -> None:
    made: list[int] = []
    cache = samples.SampleCache(lambda i: made.append(i) or bytes(10), len, budget=25)
    for _ in range(2):
        assert [len(cache[i]) for i in range(3)] == [10, 10, 10]
    assert made == [0, 1, 2, 2]


def test_a_selection_of_the_cache_is_renumbered_and_keeps_its_content() -> None:
    made: list[int] = []
    cache = samples.SampleCache(lambda i: made.append(i) or bytes([i]), len, budget=100)
    assert [cache[i] for i in range(4)] == [b"\0", b"\1", b"\2", b"\3"]
    assert [cache.select([3, 1])[i] for i in range(2)] == [b"\3", b"\1"]
    assert made == [0, 1, 2, 3]


def _cache(bad: set[int]) -> samples.SampleCache[bytes]:
    def make(index: int) -> bytes:
        if index in bad:
            raise UnreadableImage("is truncated (3 bytes arrived)")
        return b"x"

    return samples.SampleCache(make, len, 100)


def _samples(count: int) -> list[samples.Sample]:
    return [samples.Sample(f"photo{i}.jpg", 0, Path(f"photo{i}.jpg")) for i in range(count)]


def test_unreadable_samples_within_the_tolerance_are_left_out() -> None:
    good, cache = samples.select_readable("train", _samples(10), _cache({3}), 0.1)
    assert [sample.name for sample in good] == [f"photo{i}.jpg" for i in range(10) if i != 3]
    assert cache[8] == b"x"


def test_unreadable_samples_above_the_tolerance_fail_the_job_with_the_first_ten_names() -> None:
    with pytest.raises(UserError) as caught:
        samples.select_readable("train", _samples(100), _cache(set(range(12))), 0.1)
    message = str(caught.value)
    assert message.startswith("12 of 100 train images cannot be read, more than unreadable_tolerance=0.1 allows")
    assert "photo9.jpg is truncated" in message
    assert "photo10.jpg" not in message


def test_a_job_without_any_readable_sample_fails_at_any_tolerance() -> None:
    with pytest.raises(UserError, match="2 of 2 train images"):
        samples.select_readable("train", _samples(2), _cache({0, 1}), 1.0)


def test_a_missing_file_is_an_unreadable_image_and_not_a_crash(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage, match="does not exist"):
        samples.Sample("a.jpg", 0, tmp_path / "a.jpg").read()


@pytest.mark.parametrize("name", ["a\0b.jpg", "a" * 256])
def test_a_name_that_no_file_can_have_is_an_unreadable_image_and_not_a_crash(name: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage, match="cannot be read"):
        samples.Sample(name, 0, tmp_path / name).read()


def test_a_file_that_disappears_during_training_is_reported_with_the_reason(tmp_path: Path) -> None:
    photos = [samples.Sample(f"{i}.jpg", 0, tmp_path / f"{i}.jpg") for i in range(4)]
    for sample in photos[1:]:
        sample.path.write_bytes(b"x" * 10)
    cache = samples.SampleCache(lambda i: photos[i].read(), len, budget=0)
    good, kept = samples.select_readable("train", photos, cache, 0.5)
    chosen = kept.select([0, 2])
    photos[3].path.unlink()
    assert (len(good), chosen[0]) == (3, b"x" * 10)
    with pytest.raises(
        UserError, match=r"^train image 3\.jpg does not exist, although it was readable when the job began"
    ):
        chosen[1]


STOPPING = """
import os, signal, sys
from train.job import stop
stop.install()
if sys.argv[1] == "keeping":
    stop.keep_model()
os.kill(os.getpid(), getattr(signal, sys.argv[2]))
print("went on", stop.requested())
try:
    stop.check()
except stop.Stopped:
    print("stopped")
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_stop_request_before_there_is_a_model_ends_the_process_with_exit_code_0(name: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", STOPPING, "early", name], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout) == (
        0,
        f"Asked to stop ({name} received) before any epoch was finished: there is no model to keep. Stopping.\n",
    )


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_stop_request_with_a_model_to_keep_lets_the_training_loop_end(name: str) -> None:
    result = subprocess.run(
        [sys.executable, "-u", "-c", STOPPING, "keeping", name], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0
    assert result.stdout.splitlines() == [
        f"Asked to stop ({name} received): finishing the current batch, then keeping the best model so far.",
        "went on True",
        "stopped",
    ]


def test_a_second_interrupt_kills_the_process() -> None:
    twice = STOPPING + "os.kill(os.getpid(), signal.SIGINT)\nprint('still here')\n"
    result = subprocess.run(
        [sys.executable, "-u", "-c", twice, "keeping", "SIGINT"], capture_output=True, text=True, check=False
    )
    assert result.returncode == -signal.SIGINT
    assert "still here" not in result.stdout
