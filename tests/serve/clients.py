"""Clients that speak HTTP byte by byte, well or badly, on plain sockets."""

import contextlib
import select
import socket
from collections.abc import Iterable, Iterator
from http.client import parse_headers
from typing import BinaryIO

from tests.server import Response, Server


@contextlib.contextmanager
def connections(server: Server, count: int, sent: bytes) -> Iterator[list[socket.socket]]:
    """Open `count` connections and send `sent` on each."""
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(count):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30))
            client.sendall(sent)
            clients.append(client)
        yield clients


def readable(clients: Iterable[socket.socket], seconds: float = 0) -> list[socket.socket]:
    """Return the connections with data to read or closed by the server, after waiting at most `seconds`."""
    poller = select.poll()  # unlike select.select, it takes any number of files
    by_number = {client.fileno(): client for client in clients}
    for number in by_number:
        poller.register(number, select.POLLIN)
    return [by_number[number] for number, _ in poller.poll(1000 * seconds)]


def read_responses(client: socket.socket) -> list[Response]:
    """Return the responses until the server closes the connection."""
    with client.makefile("rb") as stream:
        return list(iter(lambda: read_response(stream), None))


def read_response(stream: BinaryIO) -> Response | None:
    """Return the next response, or None if the server has closed the connection."""
    line = stream.readline()
    if not line:
        return None
    headers = {name.lower(): value for name, value in parse_headers(stream).items()}
    return Response(int(line.split()[1]), headers, stream.read(int(headers.get("content-length", 0))))
