"""The admission of requests is bounded and fair, and rejects excess requests at once."""

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from serve.http.admission import Gate
from serve.http.errors import Unavailable


class BlockingPrediction:
    """A prediction that runs until the test sets `may_end`. `running` is released at each start."""

    def __init__(self) -> None:
        self.running = threading.Semaphore(0)
        self.may_end = threading.Event()
        self.order: list[int] = []

    def __call__(self, number: int) -> int:
        self.order.append(number)
        self.running.release()
        assert self.may_end.wait(10)
        return number * 10


def test_admitted_predictions_run_concurrently_and_the_others_wait_in_order() -> None:
    gate, work = Gate(admitted=2, queue=3), BlockingPrediction()

    def request(number: int) -> int:
        with gate.admit("a"):
            return gate.predict("a", 10, work, number)

    with ThreadPoolExecutor(5) as clients:
        predictions = []
        for number in range(5):
            predictions.append(clients.submit(request, number))
            if number < 2:
                assert work.running.acquire(timeout=10)
        assert work.order == [0, 1]
        assert not work.running.acquire(timeout=0.05), "a third prediction started although only two are admitted"
        work.may_end.set()
        assert [prediction.result(10) for prediction in predictions] == [0, 10, 20, 30, 40]


def test_a_request_beyond_the_queue_is_rejected_at_once_until_there_is_room_again() -> None:
    gate = Gate(admitted=1, queue=1)
    with gate.admit("a"), gate.admit("a"):
        started = time.monotonic()
        for _ in range(1000):
            with pytest.raises(Unavailable, match="busy with 2 requests"), gate.admit("a"):
                pass
        assert time.monotonic() - started < 10, "waiting 10 ms for room each time would take longer"
    with gate.admit("a"), gate.admit("a"):
        assert gate.predict("a", 10, lambda: "done") == "done"


def test_a_failed_request_frees_its_place() -> None:
    gate = Gate(admitted=1, queue=0)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), gate.admit("a"):
            gate.predict("a", 10, lambda: 1 / 0)
    with gate.admit("a"):
        assert gate.predict("a", 10, int, "7") == 7


def test_waiting_for_a_turn_times_out_and_the_request_then_never_runs() -> None:
    gate, work = Gate(admitted=1, queue=1), BlockingPrediction()
    with ThreadPoolExecutor(1) as client:
        first = client.submit(gate.predict, "a", 10, work, 1)
        assert work.running.acquire(timeout=10)
        with pytest.raises(Unavailable, match=r"this request got no turn within 0.05 s"):
            gate.predict("a", 0.05, work, 2)
        work.may_end.set()
        assert first.result(10) == 10
    assert gate.predict("a", 10, lambda: work.order) == [1]


def test_a_prediction_that_has_started_does_not_time_out() -> None:
    gate, work = Gate(admitted=1, queue=0), BlockingPrediction()

    def request() -> int:
        while True:
            try:
                return gate.predict("a", 0.01, work, 3)
            except Unavailable:  # on a busy machine it may not start in time
                assert not work.order, "a prediction timed out although it had started"

    with ThreadPoolExecutor(1) as client:
        prediction = client.submit(request)
        assert work.running.acquire(timeout=10)
        assert not work.may_end.wait(0.1), "the prediction must outlast the time limit for its turn"
        work.may_end.set()
        assert prediction.result(10) == 30


def test_the_queue_of_a_slow_model_does_not_delay_another_model() -> None:
    gate, work = Gate(admitted=1, queue=8, shared=True), BlockingPrediction()
    with ThreadPoolExecutor(6) as clients:
        slow = [clients.submit(gate.predict, "slow", 10, work, 1)]
        assert work.running.acquire(timeout=10)
        slow += [clients.submit(gate.predict, "slow", 10, work, number) for number in (2, 3, 4)]
        wait_for_queue(gate, "slow", 3)
        fast = clients.submit(gate.predict, "fast", 10, work, 5)
        wait_for_queue(gate, "fast", 1)
        work.may_end.set()
        for prediction in (*slow, fast):
            prediction.result(10)
    assert work.order.index(5) <= 2, (
        "the fast model must get its turn after at most one more prediction of the slow model"
    )


def test_the_model_with_the_fewest_running_predictions_gets_the_next_turn() -> None:
    gate, first, second = Gate(admitted=2, queue=8, shared=True), BlockingPrediction(), BlockingPrediction()
    with ThreadPoolExecutor(4) as clients:
        busy = [clients.submit(gate.predict, "slow", 10, work, number) for number, work in enumerate((first, second))]
        assert first.running.acquire(timeout=10)
        assert second.running.acquire(timeout=10)
        done = [clients.submit(gate.predict, "slow", 10, int, "2")]
        wait_for_queue(gate, "slow", 1)
        fast_prediction = BlockingPrediction()
        fast_prediction.may_end.set()
        done.append(clients.submit(gate.predict, "fast", 10, fast_prediction, 3))
        wait_for_queue(gate, "fast", 1)
        first.may_end.set()
        assert fast_prediction.running.acquire(timeout=10), (
            "the fast prediction must run while the second slow one still does"
        )
        second.may_end.set()
        for prediction in (*busy, *done):
            prediction.result(10)


def test_a_model_without_requests_gets_a_place_even_if_the_others_are_busy() -> None:
    gate = Gate(admitted=2, queue=6, shared=True)
    with contextlib.ExitStack() as places:
        assert fill_places(gate, places, "a") == 4, "half of the places"
        assert fill_places(gate, places, "b") == 2, "half of the other four places"
        assert fill_places(gate, places, "c") == 1
        places.enter_context(gate.admit("d"))
        with pytest.raises(Unavailable, match="busy with 4 requests for this model; try again"), gate.admit("a"):
            pass
    with contextlib.ExitStack() as places:
        assert fill_places(gate, places, "a") == 4, "all places must be free again"


def fill_places(gate: Gate, places: contextlib.ExitStack, model: str) -> int:
    """Take places for a model until the gate rejects a request, and return their number."""
    for count in range(100):
        try:
            places.enter_context(gate.admit(model))
        except Unavailable:
            return count
    raise AssertionError("the gate rejected no request")


def wait_for_queue(gate: Gate, model: str, count: int) -> None:
    """Wait until this many requests to a model are in its queue."""
    end = time.monotonic() + 10
    while len(gate._queues.get(model, ())) < count:
        assert time.monotonic() < end
        time.sleep(0.001)
