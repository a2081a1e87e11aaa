"""Memory that requests share: bodies until they are answered, and answers until their clients have read them."""

import threading
from types import TracebackType
from typing import Self

from serve.http.errors import Unavailable


class ByteBudget:
    """So many bytes, of which each request takes its share."""

    def __init__(self, size: int) -> None:
        self.left = size
        self.lock = threading.Lock()


class Reservation:
    """What one request holds of a room; gives it back at the end of a block, or by `release`."""

    def __init__(self, room: ByteBudget) -> None:
        self._room = room
        self._held = 0

    def take(self, count: int) -> None:
        """Hold `count` bytes more. Raises Unavailable when others hold too many."""
        with self._room.lock:
            if count > self._room.left:
                sentence = "The server holds as many bytes of other requests as it may; try again in a second."
                raise Unavailable(sentence, "memory")
            self._room.left -= count
            self._held += count

    def release(self) -> None:
        """Hold nothing any more."""
        with self._room.lock:
            self._room.left += self._held
            self._held = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
