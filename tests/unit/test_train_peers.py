"""The connections between the hosts of a job. Here each host is a thread with a different name for this machine."""

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
    """Use a free port, and restore the module's state about stops and failures afterwards."""
    monkeypatch.setattr(stop, "_leave", [*stop._leave])
    monkeypatch.setattr(stop, "_failed", [])
    monkeypatch.setattr(stop, "_state", {**stop._state})
    with socket.create_server(("localhost", 0)) as probe:
        monkeypatch.setattr(rendezvous, "PORT", probe.getsockname()[1])


def on_each(do: Callable[[Peers], T], count: int = 3) -> list[T]:
    """Return what `do` returns on each host."""

    def run(name: str) -> T:
        with peers.connected(Hosts(NAMES[:count], name)) as peer:
            result = do(peer)
            peer.gather(b"")
        return result

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, NAMES[:count]))


def test_all_hosts_get_the_values_of_each_in_the_order_of_the_hosts() -> None:
    expected = [b"", b"1", b"22"]
    assert on_each(lambda peer: peer.gather(str(peer.rank).encode() * peer.rank)) == [expected] * 3


def test_values_arrays_and_means_reach_all_hosts_unchanged() -> None:
    own = [np.arange(3, dtype=np.float32) / 3, np.zeros((0, 2), np.int64), np.array([np.nan, np.inf])]

    def exchange(peer: Peers) -> Any:
        arrays = peer.gather_arrays([array + peer.rank for array in own])
        return peer.gather_json([peer.rank, "é", None]), arrays, peer.mean(np.array([1.5, peer.rank]))

    for values, arrays, mean in on_each(exchange):
        assert values == [[rank, "é", None] for rank in range(3)]
        for rank, received in enumerate(arrays):
            for before, after in zip(own, received, strict=True):
                np.testing.assert_array_equal(before + rank, after)
                assert after.dtype == (before + rank).dtype
        np.testing.assert_array_equal(mean, [1.5, 1])


def test_a_single_host_opens_no_port_and_gets_its_own_values() -> None:
    with peers.connected(Hosts(("algo-1",), "algo-1", "no such interface")) as peer, socket.socket() as probe:
        assert probe.connect_ex(("localhost", rendezvous.PORT)) != 0
        assert peer.gather(b"own") == [b"own"]
    assert ALONE.gather_json({"a": (1, 2)}) == [{"a": (1, 2)}]
    np.testing.assert_array_equal(ALONE.mean(np.array([1.0, 2.0])), [1.0, 2.0])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack("<BQ", Kind.HELLO, 1 << 40),
        struct.pack("<BQ", Kind.HELLO, 2) + b"[]",
        struct.pack("<BQ", Kind.HELLO, 1 << 16) + b"[" * (1 << 16),
        struct.pack("<BQ", Kind.DATA, 2) + b"{}",
    ],
)
def test_an_unknown_client_at_the_port_is_disconnected_and_the_hosts_still_connect(data: bytes) -> None:
    def ranks(name: str) -> list[int]:
        with peers.connected(Hosts(NAMES[:2], name)) as peer:
            return peer.gather_json(peer.rank)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ranks, NAMES[0])
        assert send_to_first_host(data) == b""
        second = pool.submit(ranks, NAMES[1])
        assert first.result() == second.result() == [0, 1]


def connect_to_first_host() -> socket.socket:
    """Connect to the first host as soon as it listens."""
    while True:
        try:
            return socket.create_connection((NAMES[0], rendezvous.PORT), timeout=20)
        except ConnectionRefusedError:
            threading.Event().wait(0.01)


def send_to_first_host(data: bytes) -> bytes:
    """Send data to the first host as soon as it listens, and return what it sends back."""
    with connect_to_first_host() as client:
        try:
            client.sendall(data)
            with suppress(OSError):  # if the connection is already closed
                client.shutdown(socket.SHUT_WR)
            return client.recv(1)
        except ConnectionError:  # if some of the data was not read
            return b""


def test_a_host_is_accepted_after_unknown_clients_that_send_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendezvous, "_GREETING", 0.5)

    def ranks(name: str) -> list[int]:
        with peers.connected(Hosts(NAMES[:2], name)) as peer:
            return peer.gather_json(peer.rank)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ranks, NAMES[0])
        with connect_to_first_host(), connect_to_first_host():
            second = pool.submit(ranks, NAMES[1])
            assert first.result() == second.result() == [0, 1]


def test_a_host_of_another_job_is_disconnected() -> None:
    hello = json.dumps({"host": NAMES[1], "hosts": ["algo-1", NAMES[1]]}).encode()
    test_an_unknown_client_at_the_port_is_disconnected_and_the_hosts_still_connect(
        struct.pack("<BQ", Kind.HELLO, len(hello)) + hello
    )


def test_a_missing_interface_is_logged_and_any_other_is_used(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING", "train"):
        assert rendezvous.address("no-such-card") == ""
    assert "The network interface no-such-card cannot be used (" in caplog.text
    assert rendezvous.address("lo") == "127.0.0.1"
    assert rendezvous.address("") == ""


def test_hosts_that_do_not_connect_are_reported_with_the_ports_to_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendezvous, "_MEETING", 0.0)
    text = r"host 127\.0\.0\.1 of the job did not connect within .* TCP ports \d+ and up"
    with pytest.raises(TrainError, match=text), peers.connected(Hosts(NAMES[:2], NAMES[0])):
        pass


def test_connected_hosts_wait_for_a_late_one_longer_than_for_a_silent_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "SILENCE", 4.0)  # four heartbeats, because a busy machine may delay some
    never = threading.Event()

    def ranks(name: str) -> list[int]:
        if name == NAMES[2]:
            never.wait(5)  # nothing sets it
        with peers.connected(Hosts(NAMES, name)) as peer:
            return peer.gather_json(peer.rank)

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(ranks, NAMES)) == [[0, 1, 2]] * 3


# ---- end of a job --------------------------------------------------------------------------------------------------


def results(do: Callable[[Peers], T], count: int = 2) -> list[T | BaseException]:
    """Return what `do` returns or raises on each host. No host waits for the others at the end."""

    def run(name: str) -> T | BaseException:
        try:
            with peers.connected(Hosts(NAMES[:count], name)) as peer:
                return do(peer)
        except (TrainError, stop.Stopped) as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, NAMES[:count]))


def test_a_stop_while_the_first_host_exports_ends_the_others_without_an_error() -> None:
    waiting = threading.Event()

    def leave(peer: Peers) -> bool:
        if peer.rank == 0:
            waiting.wait(30)
            stop._state["requested"] = True
        else:
            waiting.set()
        training._wait_for_all(peer)
        return True

    assert results(leave, 3) == [True] * 3


def test_if_another_host_diverges_the_first_one_keeps_the_best_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first host's loss is still finite, because it waits for the other's gradients."""
    rescued: list[object] = []

    class Folder:
        def __init__(self, *_: object, **__: object) -> None: ...

        def rescue(self, best: object) -> str:
            rescued.append(best)
            return "epoch 2, the best so far, is kept"

    class Trainer:
        best = "best"

        def __init__(self, *arguments: Any) -> None:
            self._peers: Peers = arguments[-1].__self__

        def run(self) -> None:
            if self._peers.rank == 1:
                raise Diverged("the loss became nan")
            self._peers.gather(b"")

    monkeypatch.setattr(training, "ModelFolder", Folder)
    monkeypatch.setattr(training, "Trainer", Trainer)

    def train(peer: Peers) -> None:
        described = SimpleNamespace(identity=lambda: {"network": "one"})
        job: Job[Any] = Job(SimpleNamespace(), {}, peer, {})
        training._train(tmp_path / str(peer.rank), None, job, SimpleNamespace(lines=None), described)

    first, second = results(train)
    assert (type(second), str(second)) == (Diverged, "the loss became nan")
    assert rescued == ["best"]
    assert type(first) is UserError
    assert str(first) == (f"host {NAMES[1]} of the job failed: the loss became nan; epoch 2, the best so far, is kept")


def test_a_host_sends_why_it_failed_before_it_sends_that_it_left() -> None:
    """The other host stops reading once this one has disconnected, so a later reason would be lost."""
    sent, sending = [], threading.Event()

    class SlowLink:
        def send_if_open(self, kind: Kind, content: bytes = b"") -> None:
            if kind == Kind.ENDED:
                sending.set()
                threading.Event().wait(0.3)  # time for `close` to overtake it
            sent.append(kind)

        def close(self) -> None: ...

    peer = Peers(Hosts(NAMES[:2], NAMES[1]))
    peer._links = [SlowLink()]
    thread = threading.Thread(target=peer._fail, args=["a reason"])
    thread.start()
    assert sending.wait(30)
    peer.close(TrainError("a reason"))
    thread.join()
    assert sent == [Kind.ENDED, Kind.LEFT]


def test_an_exchange_fails_if_all_hosts_wait_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "_STUCK", 0.5)
    for error in results(lambda peer: peer.exchange(concurrent.futures.Future[None]()), 3):
        assert isinstance(error, TrainError)
        assert str(error) == "all hosts of the job have waited for 0 seconds for the sum of their gradients"


def test_the_failure_of_another_host_stops_the_reading_of_images(tmp_path: Path) -> None:
    stop.fail(TrainError("host algo-2 of the job was lost"))
    photos = SampleCache(lambda index: b"photo", len, 100)
    with pytest.raises(TrainError, match="host algo-2 of the job was lost"):
        select_readable("train", samples("a", "b"), photos, 0)


# ---- frames ---------------------------------------------------------------------------------------------------------


@contextmanager
def linked() -> Iterator[tuple[Link, socket.socket]]:
    """Open a link over TCP, and yield it and its other end."""
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
def test_a_connection_that_ends_within_a_frame_counts_as_ended(data: st.DataObject) -> None:
    frame = struct.pack("<BQ", Kind.DATA, 3) + b"abc"
    with linked() as (ours, other):
        other.sendall(frame[: data.draw(st.integers(0, len(frame) - 1))])
        other.close()
        with pytest.raises(EOFError, match="its connection ended"):
            ours.receive()


@pytest.mark.parametrize("frame", [struct.pack("<BQ", 99, 0), struct.pack("<BQ", Kind.HELLO, 1 << 17)])
def test_a_frame_that_is_not_a_greeting_is_rejected_before_it_is_read(frame: bytes) -> None:
    with linked() as (ours, other):
        other.sendall(frame)
        with pytest.raises(ValueError, match=r"99 is not a valid Kind|a frame of 131072 bytes"):
            ours.greeting(5)


# ---- shards ---------------------------------------------------------------------------------------------------------


@given(samples=st.integers(1, 60), size=st.integers(1, 7), hosts=st.integers(1, 5))
def test_the_shards_of_all_hosts_are_the_epochs_order_filled_up_from_its_start(
    samples: int, size: int, hosts: int
) -> None:
    order = np.random.default_rng(0).permutation(samples)
    shards = [Shard(rank, hosts).indices(order, size) for rank in range(hosts)]
    steps = -(-samples // (size * hosts))
    assert {part.shape for part in shards} == {(steps, size)}
    combined = np.stack(shards, axis=-1).reshape(-1)
    np.testing.assert_array_equal(combined, np.resize(order, len(combined)))


def test_a_host_with_fewer_samples_repeats_them_to_get_as_many_batches() -> None:
    indices = Shard(1, batches=3).indices(np.array([2, 0, 1]), 2)
    np.testing.assert_array_equal(indices, [[2, 0], [1, 2], [0, 1]])


def test_hosts_draw_different_random_numbers_and_the_first_draws_the_same_as_a_single_host() -> None:
    def drawn(shard: Shard) -> list[float]:
        batches = Batches(lambda indices, rng: float(rng.random()), 8, 2, 5, shard)
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
    def find(peer: Peers) -> Any:
        detected = distribution.detect(peer, channel(sharded), samples("a", "b"))
        return (
            detected.sharded,
            detected.shard(9, 2),
            detected.total(9),
            detected.gather_rows(np.array([peer.rank])).tolist(),
        )

    assert on_each(find, 2) == [(False, Shard(rank, 2), 9, [0]) for rank in range(2)]


def test_hosts_of_a_sharded_channel_have_their_own_samples_and_equally_many_batches() -> None:
    def find(peer: Peers) -> Any:
        detected = distribution.detect(peer, channel(True), samples("abc"[peer.rank]))
        count = 4 + peer.rank
        return (
            detected.sharded,
            detected.shard(count, 2),
            detected.total(count),
            detected.gather_rows(np.ones(peer.rank)).tolist(),
        )

    assert on_each(find) == [(True, Shard(rank, batches=3), 15, [1.0] * 3) for rank in range(3)]


def test_hosts_with_different_images_in_a_channel_that_is_not_sharded_are_rejected() -> None:
    def find(peer: Peers) -> str:
        with pytest.raises(UserError) as caught:
            distribution.detect(peer, channel(False), samples("abc"[peer.rank]))
        return str(caught.value)

    for text in on_each(find):
        assert text.startswith(
            "channel 'train' has different images on different hosts (1 on this one): set its distribution"
        )


def test_a_sharded_channel_without_a_file_for_a_host_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    empty = Channel("train", tmp_path / "empty", "", sharded=True)
    distribution.require_files({"train": empty}, hosts=1)
    with pytest.raises(UserError, match="channel 'train' is ShardedByS3Key and has no file for this host"):
        distribution.require_files({"train": empty}, hosts=2)
