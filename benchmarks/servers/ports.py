"""TCP ports for servers that are about to start."""

import secrets
import socket
from contextlib import suppress


def free_ports(count: int) -> list[int]:
    """Different TCP ports of the loopback on which no process listens.

    The system gives higher ports to clients, so that no client takes one before the server listens there.
    They are not drawn from ``random``, whose seed several programs on a machine may share.
    """
    ports: set[int] = set()
    while len(ports) < count:
        port = 15_000 + secrets.randbelow(15_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            ports.add(port)
    return list(ports)
