"""Answers 503 on the server's port while a model is being converted, before there is a server."""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Iterator

from serve.http.errors import document

REASON = "The model is being converted, which happens once at start; try again in a few seconds."
_SECONDS = 2.0  # for a client to send its request and to read the answer
_CONNECTIONS = 200  # at once; then the oldest is closed for a new one
_READ = 64 * 1024  # bytes at once


@contextlib.contextmanager
def answering(listener: socket.socket) -> Iterator[None]:
    """Answer 503 to whatever comes to `listener`, which listens already, while the block runs; it stays open."""
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(_serve(listener.dup(), stop),), name="answer-503")
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


async def _serve(listener: socket.socket, stop: asyncio.Event) -> None:
    """Answer every connection, in a task of its own, until `stop`; those that are there then are waited for."""
    tasks: dict[asyncio.Task[None], None] = {}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks[task] = None
        if len(tasks) > _CONNECTIONS:
            tasks.pop(oldest := next(iter(tasks)))
            oldest.cancel()
        try:
            async with asyncio.timeout(_SECONDS):
                await _answer(reader, writer)
        except (OSError, TimeoutError):
            pass  # a client that went away, or does not close
        finally:
            tasks.pop(task, None)
            writer.transport.abort()

    server = await asyncio.start_server(answer, sock=listener, limit=_READ, backlog=socket.SOMAXCONN)
    await stop.wait()
    server.close()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer at the first bytes, whatever they ask for, and read on until the client closes: see serve.http.worker."""
    asked = await reader.read(_READ)
    if not asked:
        return
    body = json.dumps(document(503, REASON))
    head = (
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
    )
    writer.write((head if asked.startswith(b"HEAD ") else head + body).encode())
    writer.write_eof()
    while await reader.read(_READ):
        pass
