"""Requests whose clients have gone before it was their turn."""

import math
import time

from handmade import lasting, queueing
from test_server import head, receive
from test_silence import metric

from unpickled.server import machine


def test_clients_that_leave(tmp_path):
    """Requests that wait are not run for clients that have gone; one that came later is answered."""
    with queueing(tmp_path, "--workers", "1") as (server, stack):
        # The machine may be faster than it was when the first run was measured.
        for seconds in (1, 4, 16, 64):
            leave(server, stack, lasting(server, seconds))
            if metric(server, "unpickled_requests_lost_total", "abandoned"):
                break
        assert metric(server, "unpickled_requests_lost_total", "abandoned") >= 1


def leave(server, stack, body):
    """Clients send this body and go; another one sends it after them, and is answered."""
    # More would be an overload, in which the last one is refused.
    leaving = [stack.enter_context(server.connect()) for _ in range(2 * math.ceil(machine.processors()))]
    for connection in leaving:
        connection.sendall(head(len(body)) + body)
    time.sleep(0.5)
    staying = stack.enter_context(server.connect())
    staying.sendall(head(len(body)) + body)
    time.sleep(0.5)
    for connection in leaving:
        connection.close()
    assert receive(staying)[0] == 200


def test_clients_behind_a_proxy(tmp_path):
    """Requests that a proxy passes on, and that have to wait, are answered: its connection is there."""
    with queueing(tmp_path, "--workers", "1", "--forwarded-allow-ips", "127.0.0.1") as (server, stack):
        body = lasting(server, 1)
        waiting = [stack.enter_context(server.connect()) for _ in range(6)]
        for connection in waiting:
            connection.sendall(head(len(body), "X-Forwarded-For: 203.0.113.9") + body)
        assert [receive(connection)[0] for connection in waiting] == [200] * 6
