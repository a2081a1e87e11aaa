"""The memory budget that requests share."""

import pytest

from serve.http.byte_budget import ByteBudget, Reservation
from serve.http.errors import Unavailable


def test_memory_that_a_request_reserves_is_not_available_to_others_until_it_ends() -> None:
    budget = ByteBudget(100)
    with Reservation(budget) as first:
        first.take(40)
        first.take(40)
        with Reservation(budget) as second, pytest.raises(Unavailable, match="try again in a second"):
            second.take(21)
        with Reservation(budget) as third:
            third.take(20)
    with Reservation(budget) as last:
        last.take(100)


def test_releasing_a_reservation_twice_frees_its_memory_once() -> None:
    budget = ByteBudget(10)
    reservation = Reservation(budget)
    reservation.take(10)
    reservation.release()
    reservation.release()
    with pytest.raises(Unavailable):
        Reservation(budget).take(11)
