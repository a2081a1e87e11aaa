"""The hosts of a job keep in touch: here each is a thread, with a name of its own for this machine."""

import concurrent.futures
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.data import distribution
from train.data.channels import Channel
from train.data.samples import Batches, Sample, SampleCache, Shard, select_readable
from train.errors import Diverged, TrainError, UserError
from train.job import link, peers, rendezvous, stop, training
from train.job.cluster import Hosts
from train.job.link import Kind, Link
from train.job.peers import ALONE, Peers
from train.job.training import Job

T = TypeVar("T")
NAMES = ("localhost", "127.0.0.1", "127.0.0.2")


@pytest.fixture(autouse=True)
def port(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that no other test has, and how a process ends stays as it was."""
    monkeypatch.setattr(stop, "_leave", [*stop._leave])
    monkeypatch.setattr(stop, "_failed", [])
    monkeypatch.setattr(stop, "_state", {**stop._state})
    with socket.create_server(("localhost", 0)) as probe:
        monkeypatch.setattr(rendezvous, "PORT", probe.getsockname()[1])


def on_each(do: Callable[[Peers], T], count: int = 3) -> list[T]:
    """What `do` returns on each host."""

    def run(name: str) -> T:
        with peers.connected(Hosts(NAMES[:count], name)) as met:
            found = do(met)
            met.gather(b"")
        return found

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, NAMES[:count]))


def test_all_hosts_get_what_each_gives_in_the_order_of_the_hosts() -> None:
    wanted = [b"", b"1", b"22"]
    assert on_each(lambda met: met.gather(str(met.rank).encode() * met.rank)) == [wanted] * 3


def test_values_arrays_and_means_come_to_all_hosts_as_they_were_given() -> None:
    own = [np.arange(3, dtype=np.float32) / 3, np.zeros((0, 2), np.int64), np.array([np.nan, np.inf])]

    def give(met: Peers) -> Any:
        arrays = met.gather_arrays([array + met.rank for array in own])
        return met.gather_json([met.rank, "é", None]), arrays, met.mean(np.array([1.5, met.rank]))

    for values, arrays, mean in on_each(give):
        assert values == [[rank, "é", None] for rank in range(3)]
        for rank, found in enumerate(arrays):
            for before, after in zip(own, found, strict=True):
                np.testing.assert_array_equal(before + rank, after)
                assert after.dtype == (before + rank).dtype
        np.testing.assert_array_equal(mean, [1.5, 1])


def test_one_host_alone_opens_no_port_and_gets_back_what_it_gives() -> None:
    with peers.connected(Hosts(("algo-1",), "algo-1", "no such interface")) as met, socket.socket() as probe:
        assert probe.connect_ex(("localhost", rendezvous.PORT)) != 0
        assert met.gather(b"own") == [b"own"]
    assert ALONE.gather_json({"a": (1, 2)}) == [{"a": (1, 2)}]
    np.testing.assert_array_equal(ALONE.mean(np.array([1.0, 2.0])), [1.0, 2.0])


@pytest.mark.parametrize(
    "words",
    [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack("<BQ", Kind.HELLO, 1 << 40),
        struct.pack("<BQ", Kind.HELLO, 2) + b"[]",
        struct.pack("<BQ", Kind.HELLO, 1 << 16) + b"[" * (1 << 16),
        struct.pack("<BQ", Kind.DATA, 2) + b"{}",
    ],
)
def test_a_stranger_at_the_port_is_sent_away_and_the_hosts_still_meet(words: bytes) -> None:
    def ranks(name: str) -> list[int]:
        with peers.connected(Hosts(NAMES[:2], name)) as met:
            return met.gather_json(met.rank)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ranks, NAMES[0])
        assert knock(words) == b""
        second = pool.submit(ranks, NAMES[1])
        assert first.result() == second.result() == [0, 1]


def reached() -> socket.socket:
    """A connection to the first host, made as soon as it listens."""
    while True:
        try:
            return socket.create_connection((NAMES[0], rendezvous.PORT), timeout=20)
        except ConnectionRefusedError:
            threading.Event().wait(0.01)


def knock(words: bytes) -> bytes:
    """Say something to the first host as soon as it listens, and return its answer."""
    with reached() as stranger:
        try:
            stranger.sendall(words)
            with suppress(OSError):  # where the connection is closed already
                stranger.shutdown(socket.SHUT_WR)
            return stranger.recv(1)
        except ConnectionError:  # where some of the words were not read
            return b""


def test_a_host_waits_behind_strangers_that_say_nothing_for_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendezvous, "_GREETING", 0.5)

    def ranks(name: str) -> list[int]:
        with peers.connected(Hosts(NAMES[:2], name)) as met:
            return met.gather_json(met.rank)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ranks, NAMES[0])
        with reached(), reached():
            second = pool.submit(ranks, NAMES[1])
            assert first.result() == second.result() == [0, 1]


def test_a_host_of_another_job_is_not_let_in() -> None:
    hello = json.dumps({"host": NAMES[1], "hosts": ["algo-1", NAMES[1]]}).encode()
    test_a_stranger_at_the_port_is_sent_away_and_the_hosts_still_meet(
        struct.pack("<BQ", Kind.HELLO, len(hello)) + hello
    )


def test_an_interface_that_is_not_there_is_logged_and_any_other_is_used(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING", "train"):
        assert rendezvous.address("no-such-card") == ""
    assert "The network interface no-such-card cannot be used (" in caplog.text
    assert rendezvous.address("lo") == "127.0.0.1"
    assert rendezvous.address("") == ""


def test_hosts_that_do_not_appear_are_named_with_the_ports_to_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendezvous, "_MEETING", 0.0)
    text = r"host 127\.0\.0\.1 of the job did not connect within .* TCP ports \d+ and up"
    with pytest.raises(TrainError, match=text), peers.connected(Hosts(NAMES[:2], NAMES[0])):
        pass


def test_hosts_that_are_there_wait_for_one_that_is_late_for_longer_than_a_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(link, "SILENCE", 4.0)  # four beats, of which a busy machine may delay some
    silent = threading.Event()

    def ranks(name: str) -> list[int]:
        if name == NAMES[2]:
            silent.wait(5)  # nothing sets it
        with peers.connected(Hosts(NAMES, name)) as met:
            return met.gather_json(met.rank)

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(ranks, NAMES)) == [[0, 1, 2]] * 3


# ---- ends -----------------------------------------------------------------------------------------------------------


def ends(do: Callable[[Peers], T], count: int = 2) -> list[T | BaseException]:
    """What `do` returns or raises on each host, none of which waits for the others then."""

    def run(name: str) -> T | BaseException:
        try:
            with peers.connected(Hosts(NAMES[:count], name)) as met:
                return do(met)
        except (TrainError, stop.Stopped) as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, NAMES[:count]))


def test_a_stop_while_the_first_host_exports_lets_the_others_leave_without_an_error() -> None:
    waiting = threading.Event()

    def leave(met: Peers) -> bool:
        if met.rank == 0:
            waiting.wait(30)
            stop._state["requested"] = True
        else:
            waiting.set()
        training._wait_for_all(met)
        return True

    assert ends(leave, 3) == [True] * 3


def test_a_host_that_diverges_lets_the_first_one_keep_the_best_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first host's loss is still finite: it waits for the other one's gradients."""
    rescued: list[object] = []

    class Folder:
        def __init__(self, *_: object, **__: object) -> None: ...

        def rescue(self, best: object) -> str:
            rescued.append(best)
            return "epoch 2, the best so far, is kept"

    class Trainer:
        best = "best"

        def __init__(self, *found: Any) -> None:
            self._met: Peers = found[-1].__self__

        def run(self) -> None:
            if self._met.rank == 1:
                raise Diverged("the loss became nan")
            self._met.gather(b"")

    monkeypatch.setattr(training, "ModelFolder", Folder)
    monkeypatch.setattr(training, "Trainer", Trainer)

    def train(met: Peers) -> None:
        described = SimpleNamespace(identity=lambda: {"network": "one"})
        job: Job[Any] = Job(SimpleNamespace(), {}, met, {})
        training._train(tmp_path / str(met.rank), None, job, SimpleNamespace(lines=None), described)

    first, second = ends(train)
    assert (type(second), str(second)) == (Diverged, "the loss became nan")
    assert rescued == ["best"]
    assert type(first) is UserError
    assert str(first) == (f"host {NAMES[1]} of the job failed: the loss became nan; epoch 2, the best so far, is kept")


def test_a_host_says_why_it_ends_before_it_says_that_it_has_left() -> None:
    """The other host stops reading once it hears that this one has left, so a reason that came later would be lost."""
    told, sending = [], threading.Event()

    class Slow:
        def send_if_open(self, kind: Kind, content: bytes = b"") -> None:
            if kind == Kind.ENDED:
                sending.set()
                threading.Event().wait(0.3)  # time for `close` to overtake it
            told.append(kind)

        def close(self) -> None: ...

    met = Peers(Hosts(NAMES[:2], NAMES[1]))
    met._links = [Slow()]
    thread = threading.Thread(target=met._fail, args=["a reason"])
    thread.start()
    assert sending.wait(30)
    met.close(TrainError("a reason"))
    thread.join()
    assert told == [Kind.ENDED, Kind.LEFT]


def test_an_exchange_in_which_all_hosts_wait_for_too_long_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "_STUCK", 0.5)
    for error in ends(lambda met: met.exchange(concurrent.futures.Future[None]()), 3):
        assert isinstance(error, TrainError)
        assert str(error) == "all hosts of the job have waited for 0 seconds for the sum of their gradients"


def test_a_failure_of_another_host_ends_the_reading_of_images(tmp_path: Path) -> None:
    stop.fail(TrainError("host algo-2 of the job was lost"))
    photos = SampleCache(lambda index: b"photo", len, 100)
    with pytest.raises(TrainError, match="host algo-2 of the job was lost"):
        select_readable("train", samples("a", "b"), photos, 0)


# ---- frames ---------------------------------------------------------------------------------------------------------


@contextmanager
def linked() -> Iterator[tuple[Link, socket.socket]]:
    """A link over TCP, and the other end of it."""
    with socket.create_server(("localhost", 0)) as server:
        other = socket.create_connection(server.getsockname())
        ours = Link("other", server.accept()[0])
    with other:
        yield ours, other
        ours.close()


@given(st.lists(st.tuples(st.sampled_from(Kind), st.binary(max_size=5000))))
def test_frames_arrive_as_they_were_sent(frames: list[tuple[Kind, bytes]]) -> None:
    with linked() as (ours, other):
        sender = Link("one", other)
        thread = threading.Thread(target=lambda: [sender.send(*frame) for frame in frames])
        thread.start()
        assert [ours.receive() for _ in frames] == frames
        thread.join()


@given(st.data())
def test_a_connection_that_ends_within_a_frame_is_an_end(data: st.DataObject) -> None:
    frame = struct.pack("<BQ", Kind.DATA, 3) + b"abc"
    with linked() as (ours, other):
        other.sendall(frame[: data.draw(st.integers(0, len(frame) - 1))])
        other.close()
        with pytest.raises(EOFError, match="its connection ended"):
            ours.receive()


@pytest.mark.parametrize("frame", [struct.pack("<BQ", 99, 0), struct.pack("<BQ", Kind.HELLO, 1 << 17)])
def test_what_is_not_a_greeting_is_refused_before_it_is_read(frame: bytes) -> None:
    with linked() as (ours, other):
        other.sendall(frame)
        with pytest.raises(ValueError, match=r"99 is not a valid Kind|a frame of 131072 bytes"):
            ours.greeting(5)


# ---- shares ---------------------------------------------------------------------------------------------------------


@given(samples=st.integers(1, 60), size=st.integers(1, 7), hosts=st.integers(1, 5))
def test_the_shares_of_all_hosts_are_an_epochs_order_whole_and_filled_up_from_its_start(
    samples: int, size: int, hosts: int
) -> None:
    order = np.random.default_rng(0).permutation(samples)
    shares = [Shard(rank, hosts).indices(order, size) for rank in range(hosts)]
    steps = -(-samples // (size * hosts))
    assert {part.shape for part in shares} == {(steps, size)}
    together = np.stack(shares, axis=-1).reshape(-1)
    np.testing.assert_array_equal(together, np.resize(order, len(together)))


def test_a_host_with_fewer_samples_repeats_them_until_all_have_done_as_many_batches() -> None:
    indices = Shard(1, batches=3).indices(np.array([2, 0, 1]), 2)
    np.testing.assert_array_equal(indices, [[2, 0], [1, 2], [0, 1]])


def test_hosts_draw_other_random_numbers_and_the_first_those_of_one_host_alone() -> None:
    def drawn(share: Shard) -> list[float]:
        batches = Batches(lambda indices, rng: float(rng.random()), 8, 2, 5, share)
        return list(batches.epoch(3))

    alone = drawn(Shard())
    assert drawn(Shard(0, 2)) == alone[:2]
    assert not set(drawn(Shard(1, 2))) & set(alone)


# ---- distributions --------------------------------------------------------------------------------------------------


def samples(*names: str) -> list[Sample[None]]:
    return [Sample(name, None, Path(name)) for name in names]


def channel(sharded: bool) -> Channel:
    return Channel("train", Path("train"), "", sharded=sharded)


@pytest.mark.parametrize("sharded", [False, True])
def test_hosts_with_the_same_samples_share_them(sharded: bool) -> None:
    def find(met: Peers) -> Any:
        found = distribution.detect(met, channel(sharded), samples("a", "b"))
        return found.sharded, found.shard(9, 2), found.total(9), found.gather_rows(np.array([met.rank])).tolist()

    assert on_each(find, 2) == [(False, Shard(rank, 2), 9, [0]) for rank in range(2)]


def test_hosts_of_a_sharded_channel_have_samples_of_their_own_and_take_as_many_batches() -> None:
    def find(met: Peers) -> Any:
        found = distribution.detect(met, channel(True), samples("abc"[met.rank]))
        count = 4 + met.rank
        return found.sharded, found.shard(count, 2), found.total(count), found.gather_rows(np.ones(met.rank)).tolist()

    assert on_each(find) == [(True, Shard(rank, batches=3), 15, [1.0] * 3) for rank in range(3)]


def test_hosts_that_differ_without_being_sharded_are_refused() -> None:
    def find(met: Peers) -> str:
        with pytest.raises(UserError) as caught:
            distribution.detect(met, channel(False), samples("abc"[met.rank]))
        return str(caught.value)

    for text in on_each(find):
        assert text.startswith(
            "channel 'train' has different images on different hosts (1 on this one): set its distribution"
        )


def test_a_sharded_channel_that_gives_a_host_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    given_none = Channel("train", tmp_path / "empty", "", sharded=True)
    distribution.require_files({"train": given_none}, hosts=1)
    with pytest.raises(UserError, match="channel 'train' is ShardedByS3Key and has no file for this host"):
        distribution.require_files({"train": given_none}, hosts=2)
