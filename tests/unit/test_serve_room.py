"""Memory that requests share."""

import pytest

from serve.http.errors import Unavailable
from serve.http.room import Room, Share


def test_what_one_request_holds_is_missing_to_the_others_until_it_ends() -> None:
    room = Room(100)
    with Share(room) as first:
        first.take(40)
        first.take(40)
        with Share(room) as second, pytest.raises(Unavailable, match="try again in a second"):
            second.take(21)
        with Share(room) as third:
            third.take(20)
    with Share(room) as last:
        last.take(100)


def test_a_share_given_back_twice_counts_once() -> None:
    room = Room(10)
    share = Share(room)
    share.take(10)
    share.release()
    share.release()
    with pytest.raises(Unavailable):
        Share(room).take(11)
