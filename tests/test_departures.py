"""Requests whose clients have gone before it was their turn."""

import contextlib
import time

from conftest import eventually, serving
from handmade import lasting, slow, store
from test_server import head, receive
from test_silence import metric


def test_clients_that_leave(tmp_path):
    """Requests that wait are not run for clients that have gone; one that came later is answered."""
    store(tmp_path / "models", "slow", slow())
    flags = ("--max-queue-ms", "3600000", "--workers", "1")
    with (
        serving(tmp_path, *flags, models=tmp_path / "models") as server,
        contextlib.ExitStack() as stack,
    ):
        # The queue stands by then: it takes a request whose own work is a third of what waits.
        body, long = lasting(server, 1), lasting(server, 4)
        leaving = [stack.enter_context(server.connect()) for _ in range(8)]
        for connection in leaving:
            connection.sendall(head(len(body)) + body)
        time.sleep(0.5)
        staying = stack.enter_context(server.connect())
        staying.sendall(head(len(long)) + long)
        time.sleep(0.5)
        for connection in leaving:
            connection.close()
        eventually(lambda: metric(server, "unpickled_requests_lost_total", "abandoned") >= 1)
        assert receive(staying)[0] == 200
