"""How the hosts of a job find each other: all others connect to the first one, by the names in resourceconfig.json."""

import fcntl
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from train.errors import TrainError
from train.job import stop
from train.job.cluster import Hosts
from train.job.link import SILENCE, Kind, Link
from train.log import LOG, LogInterval

PORT = 7777
"""Of the first host. What the frameworks listen on are those above it."""
_POLL, _GREETING, _PAUSE = 0.5, 5.0, 0.5  # seconds
_MEETING = 900.0  # seconds; a host's name may resolve only after minutes
_SIOCGIFADDR = 0x8915  # of netdevice(7)

Join = Callable[[Link], None]
"""Called with the link to each host as soon as it is there."""


def accept(hosts: Hosts, join: Join) -> None:
    """Wait, on the first host, for the others. Raises TrainError when one is not there within 15 minutes."""
    missing, deadline = list(hosts.names[1:]), _Deadline()
    with socket.create_server((address(hosts.interface), PORT), backlog=len(missing)) as server:
        server.settimeout(_POLL)
        while missing:
            deadline.check(missing)
            with suppress(TimeoutError):
                link = _welcome(Link("", server.accept()[0]), missing, hosts)
                if link is not None:
                    missing.remove(link.name)
                    join(link)


def connect(hosts: Hosts, join: Join) -> None:
    """Wait, on another host, for the first one. Raises TrainError when it is not there within 15 minutes."""
    first, own, deadline, never = hosts.names[0], address(hosts.interface), _Deadline(), threading.Event()
    hello = json.dumps({"host": hosts.current, "hosts": hosts.names}).encode()
    while True:
        deadline.check([first])
        with suppress(OSError, EOFError, ValueError):
            source = (own, 0) if own else None
            link = Link(first, socket.create_connection((first, PORT), _GREETING, source))
            link.send(Kind.HELLO, hello)
            # Strangers may come first. If this host gave up, the first one would answer where nobody listens.
            if link.greeting(SILENCE)[0] == Kind.WELCOME:
                join(link)
                return
        never.wait(_PAUSE)  # before the next try: names resolve and hosts listen in their own time


def _welcome(link: Link, missing: Sequence[str], hosts: Hosts) -> Link | None:
    """Return the link of a host that is missing, None for whatever else connects to the port."""
    try:
        kind, content = link.greeting(_GREETING)
        hello = json.loads(content) if kind == Kind.HELLO else {}
        if isinstance(hello, dict) and hello.get("host") in missing and hello.get("hosts") == [*hosts.names]:
            link.name = hello["host"]
            link.send(Kind.WELCOME)
            return link
    except (OSError, EOFError, ValueError, RecursionError):
        pass  # a port is open to anybody: a stranger must not end the job
    link.close()
    return None


class _Deadline:
    """How long a host waits for the others."""

    def __init__(self) -> None:
        self._start, self._interval = time.monotonic(), LogInterval(0)

    def check(self, missing: Sequence[str]) -> None:
        """Log now and then which hosts are missing. Raises TrainError after 15 minutes, or when another has failed."""
        stop.check()
        if time.monotonic() - self._start > _MEETING:
            raise TrainError(
                f"host {', '.join(missing)} of the job was not there within {_MEETING / 60:.0f} minutes: its log says "
                f"why; hosts reach each other on the TCP ports from {PORT} on, which a VPC's security groups must allow"
            )
        if self._interval.due(0):
            LOG.info("Still waiting for %s", ", ".join(missing))


def address(interface: str) -> str:
    """Return the IPv4 address of a network interface, "" for any where no name is given or it has none."""
    if not interface:
        return ""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            found = fcntl.ioctl(probe, _SIOCGIFADDR, struct.pack("256s", interface.encode()))
        except (OSError, struct.error) as error:
            LOG.warning("The network interface %s cannot be used (%s): any other is", interface, error)
            return ""
    return socket.inet_ntoa(found[20:24])
