"""Sends 503 responses on the server's port while a model is being converted, before the real server starts."""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Iterator

from serve.http.errors import document

REASON = "The model is being converted, which happens once at startup; try again in a few seconds."
_SECONDS = 2.0  # for a client to send its request and to read the response
_MAX_CONNECTIONS = 200  # with more, the oldest is closed
_READ = 64 * 1024  # bytes per call


@contextlib.contextmanager
def running(listener: socket.socket) -> Iterator[None]:
    """Send 503 to every request on `listener` while the block runs. The listening socket stays open."""
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(_serve(listener.dup(), stop),), name="send-503")
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


async def _serve(listener: socket.socket, stop: asyncio.Event) -> None:
    """Handle each connection in its own task until `stop` is set, then wait for the open connections."""
    tasks: dict[asyncio.Task[None], None] = {}

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks[task] = None
        if len(tasks) > _MAX_CONNECTIONS:
            tasks.pop(oldest := next(iter(tasks)))
            oldest.cancel()
        try:
            async with asyncio.timeout(_SECONDS):
                await _respond(reader, writer)
        except (OSError, TimeoutError):
            pass  # the client is gone, or does not close
        finally:
            tasks.pop(task, None)
            writer.transport.abort()

    server = await asyncio.start_server(handle, sock=listener, limit=_READ, backlog=socket.SOMAXCONN)
    await stop.wait()
    server.close()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Respond to the first bytes of any request, then read until the client closes, like serve.http.worker."""
    request = await reader.read(_READ)
    if not request:
        return
    body = json.dumps(document(503, REASON))
    head = (
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
    )
    writer.write((head if request.startswith(b"HEAD ") else head + body).encode())
    writer.write_eof()
    while await reader.read(_READ):
        pass
