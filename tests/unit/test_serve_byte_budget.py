"""Memory that requests share."""

import pytest

from serve.http.byte_budget import ByteBudget, Reservation
from serve.http.errors import Unavailable


def test_what_one_request_holds_is_missing_to_the_others_until_it_ends() -> None:
    room = ByteBudget(100)
    with Reservation(room) as first:
        first.take(40)
        first.take(40)
        with Reservation(room) as second, pytest.raises(Unavailable, match="try again in a second"):
            second.take(21)
        with Reservation(room) as third:
            third.take(20)
    with Reservation(room) as last:
        last.take(100)


def test_a_share_given_back_twice_counts_once() -> None:
    room = ByteBudget(10)
    share = Reservation(room)
    share.take(10)
    share.release()
    share.release()
    with pytest.raises(Unavailable):
        Reservation(room).take(11)
