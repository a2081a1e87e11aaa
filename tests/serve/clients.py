"""Clients that speak HTTP byte by byte, well or badly, on plain sockets."""

import contextlib
import select
import socket
from collections.abc import Iterable, Iterator
from http.client import parse_headers
from typing import BinaryIO

from tests.server import Response, Server


@contextlib.contextmanager
def crowd(server: Server, count: int, sent: bytes) -> Iterator[list[socket.socket]]:
    """So many connections, each of which has sent that much."""
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(count):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30))
            client.sendall(sent)
            clients.append(client)
        yield clients


def readable(clients: Iterable[socket.socket], seconds: float = 0) -> list[socket.socket]:
    """Those that have been sent an answer, or closed, after at most so many seconds."""
    poller = select.poll()  # which takes any number of files
    by_number = {client.fileno(): client for client in clients}
    for number in by_number:
        poller.register(number, select.POLLIN)
    return [by_number[number] for number, _ in poller.poll(1000 * seconds)]


def answers(client: socket.socket) -> list[Response]:
    """The answers that come until the server closes."""
    with client.makefile("rb") as stream:
        return list(iter(lambda: answer(stream), None))


def answer(stream: BinaryIO) -> Response | None:
    """The next answer, None where the server has closed."""
    line = stream.readline()
    if not line:
        return None
    headers = {name.lower(): value for name, value in parse_headers(stream).items()}
    return Response(int(line.split()[1]), headers, stream.read(int(headers.get("content-length", 0))))
