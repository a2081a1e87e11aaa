"""Admission: bounded, fair, and at once when it refuses."""

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from serve.http.admission import Gate
from serve.http.errors import Unavailable


class Blocked:
    """A prediction that lasts until it is told to end, and counts how many run at once."""

    def __init__(self) -> None:
        self.running = threading.Semaphore(0)
        self.may_end = threading.Event()
        self.order: list[int] = []

    def __call__(self, number: int) -> int:
        self.order.append(number)
        self.running.release()
        assert self.may_end.wait(10)
        return number * 10


def test_admitted_predictions_run_together_and_the_rest_wait_in_order() -> None:
    gate, work = Gate(admitted=2, queue=3), Blocked()

    def request(number: int) -> int:
        with gate.entered("a"):
            return gate.predict("a", 10, work, number)

    with ThreadPoolExecutor(5) as clients:
        answers = []
        for number in range(5):
            answers.append(clients.submit(request, number))
            if number < 2:
                assert work.running.acquire(timeout=10)
        assert work.order == [0, 1]
        assert not work.running.acquire(timeout=0.05), "a third prediction began although two are admitted"
        work.may_end.set()
        assert [answer.result(10) for answer in answers] == [0, 10, 20, 30, 40]


def test_request_beyond_the_line_is_refused_at_once_and_room_comes_back() -> None:
    gate = Gate(admitted=1, queue=1)
    with gate.entered("a"), gate.entered("a"):
        started = time.monotonic()
        for _ in range(1000):
            with pytest.raises(Unavailable, match="busy with 2 requests"), gate.entered("a"):
                pass
        assert time.monotonic() - started < 10, "to wait 10 ms for room would take longer"
    with gate.entered("a"), gate.entered("a"):
        assert gate.predict("a", 10, lambda: "answered") == "answered"


def test_request_that_fails_gives_its_room_back() -> None:
    gate = Gate(admitted=1, queue=0)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), gate.entered("a"):
            gate.predict("a", 10, lambda: 1 / 0)
    with gate.entered("a"):
        assert gate.predict("a", 10, int, "7") == 7


def test_wait_for_a_turn_is_bounded_and_what_gave_up_never_runs() -> None:
    gate, work = Gate(admitted=1, queue=1), Blocked()
    with ThreadPoolExecutor(1) as client:
        first = client.submit(gate.predict, "a", 10, work, 1)
        assert work.running.acquire(timeout=10)
        with pytest.raises(Unavailable, match=r"no turn for this request in 0.05 s"):
            gate.predict("a", 0.05, work, 2)
        work.may_end.set()
        assert first.result(10) == 10
    assert gate.predict("a", 10, lambda: work.order) == [1]


def test_prediction_that_has_begun_is_waited_for() -> None:
    gate, work = Gate(admitted=1, queue=0), Blocked()

    def request() -> int:
        while True:
            try:
                return gate.predict("a", 0.01, work, 3)
            except Unavailable:  # as on a busy machine, where it may not begin in time
                assert not work.order, "a prediction that has begun was given up"

    with ThreadPoolExecutor(1) as client:
        answer = client.submit(request)
        assert work.running.acquire(timeout=10)
        assert not work.may_end.wait(0.1), "nothing else ends the prediction: it has outlived its time to wait"
        work.may_end.set()
        assert answer.result(10) == 30


def test_a_slow_models_line_does_not_hold_up_another_model() -> None:
    gate, work = Gate(admitted=1, queue=8, shared=True), Blocked()
    with ThreadPoolExecutor(6) as clients:
        slow = [clients.submit(gate.predict, "slow", 10, work, 1)]
        assert work.running.acquire(timeout=10)
        slow += [clients.submit(gate.predict, "slow", 10, work, number) for number in (2, 3, 4)]
        waiting_for(gate, "slow", 3)
        fast = clients.submit(gate.predict, "fast", 10, work, 5)
        waiting_for(gate, "fast", 1)
        work.may_end.set()
        for answer in (*slow, fast):
            answer.result(10)
    assert work.order.index(5) <= 2, "the fast model's turn came after at most one more of the slow one's"


def test_a_turn_goes_first_to_the_model_with_the_fewest_running() -> None:
    gate, first, second = Gate(admitted=2, queue=8, shared=True), Blocked(), Blocked()
    with ThreadPoolExecutor(4) as clients:
        busy = [clients.submit(gate.predict, "slow", 10, one, number) for number, one in enumerate((first, second))]
        assert first.running.acquire(timeout=10)
        assert second.running.acquire(timeout=10)
        done = [clients.submit(gate.predict, "slow", 10, int, "2")]
        waiting_for(gate, "slow", 1)
        order = Blocked()
        order.may_end.set()
        done.append(clients.submit(gate.predict, "fast", 10, order, 3))
        waiting_for(gate, "fast", 1)
        first.may_end.set()
        assert order.running.acquire(timeout=10), "while the other slow prediction still runs"
        second.may_end.set()
        for answer in (*busy, *done):
            answer.result(10)


def test_a_model_that_holds_no_place_finds_one_however_busy_others_are() -> None:
    gate = Gate(admitted=2, queue=6, shared=True)
    with contextlib.ExitStack() as places:
        assert held(gate, places, "a") == 4, "half of the places"
        assert held(gate, places, "b") == 2, "of the other four no more than it leaves free"
        assert held(gate, places, "c") == 1
        places.enter_context(gate.entered("d"))
        with pytest.raises(Unavailable, match="busy with 4 requests of this model; try again"), gate.entered("a"):
            pass
    with contextlib.ExitStack() as places:
        assert held(gate, places, "a") == 4, "all places came back"


def held(gate: Gate, places: contextlib.ExitStack, model: str) -> int:
    """How many places the gate gives to a model."""
    for count in range(100):
        try:
            places.enter_context(gate.entered(model))
        except Unavailable:
            return count
    raise AssertionError("no end of places")


def waiting_for(gate: Gate, model: str, count: int) -> None:
    """Return once so many requests to a model are in its line."""
    end = time.monotonic() + 10
    while len(gate._lines.get(model, ())) < count:
        assert time.monotonic() < end
        time.sleep(0.001)
