"""Connect the hosts of a job: all others connect to the first one, by its name in resourceconfig.json."""

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
"""The port of the first host. The frameworks listen on the ports above it."""
_POLL, _GREETING, _PAUSE = 0.5, 5.0, 0.5  # seconds
_MEETING = 900.0  # seconds; a host's name may take minutes to resolve
_SIOCGIFADDR = 0x8915  # see netdevice(7)

Join = Callable[[Link], None]
"""Called with the link to each host as soon as it is connected."""


def accept(hosts: Hosts, join: Join) -> None:
    """On the first host, wait for the others. Raises TrainError if one does not connect within 15 minutes."""
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
    """On another host, connect to the first one. Raises TrainError if that fails for 15 minutes."""
    first, own, deadline, never_set = hosts.names[0], address(hosts.interface), _Deadline(), threading.Event()
    hello = json.dumps({"host": hosts.current, "hosts": hosts.names}).encode()
    while True:
        deadline.check([first])
        with suppress(OSError, EOFError, ValueError):
            source = (own, 0) if own else None
            link = Link(first, socket.create_connection((first, PORT), _GREETING, source))
            link.send(Kind.HELLO, hello)
            # The first host may be busy with other clients. If this host gave up too soon, the reply would be lost.
            if link.greeting(SILENCE)[0] == Kind.WELCOME:
                join(link)
                return
        never_set.wait(_PAUSE)  # until the name resolves and the host listens


def _welcome(link: Link, missing: Sequence[str], hosts: Hosts) -> Link | None:
    """Return the link if it is from a missing host, or None for any other client."""
    try:
        kind, content = link.greeting(_GREETING)
        hello = json.loads(content) if kind == Kind.HELLO else {}
        if isinstance(hello, dict) and hello.get("host") in missing and hello.get("hosts") == [*hosts.names]:
            link.name = hello["host"]
            link.send(Kind.WELCOME)
            return link
    except (OSError, EOFError, ValueError, RecursionError):
        pass  # anyone can connect to the port, so an invalid client must not end the job
    link.close()
    return None


class _Deadline:
    """Limits how long a host waits for the others."""

    def __init__(self) -> None:
        self._start, self._interval = time.monotonic(), LogInterval(0)

    def check(self, missing: Sequence[str]) -> None:
        """Log the missing hosts periodically. Raises TrainError after 15 minutes or if another host failed."""
        stop.check()
        if time.monotonic() - self._start > _MEETING:
            hosts = f"host{'s' if len(missing) > 1 else ''} {', '.join(missing)}"
            raise TrainError(
                f"{hosts} of the job did not connect within {_MEETING / 60:.0f} minutes; read the logs of all hosts. "
                f"Hosts connect on TCP ports {PORT} and up, which a VPC's security groups must allow"
            )
        if self._interval.due(0):
            LOG.info("Still waiting for %s", ", ".join(missing))


def address(interface: str) -> str:
    """Return the IPv4 address of a network interface, or "" (any) if `interface` is empty or has no address."""
    if not interface:
        return ""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            ifreq = fcntl.ioctl(probe, _SIOCGIFADDR, struct.pack("256s", interface.encode()))
        except (OSError, struct.error) as error:
            LOG.warning("The network interface %s cannot be used (%s): using the default instead", interface, error)
            return ""
    return socket.inet_ntoa(ifreq[20:24])
