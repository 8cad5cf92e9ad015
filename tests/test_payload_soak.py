"""A server that logs every row, for a minute: workers and writers are killed, and the books are right."""

import os
import signal

import pytest
from conftest import end, eventually, serving
from payloads import LOGGING, Traffic, fates, journals, logged, settled


@pytest.mark.long
def test_a_minute(models, tmp_path):
    """At full speed, rows in the files and rows counted as dropped or lost are all that were answered."""
    flags = (*LOGGING, "--log-rotate-rows", "20000", "--workers", "2")
    with (
        serving(tmp_path, *flags, models=models.path) as server,
        Traffic(server, 6) as single,
        Traffic(server, 2, rows=30) as batches,
    ):
        clients = single, batches
        for victims in (server.workers, server.writers, server.workers, server.writers):
            before = sum(len(each.ids) for each in clients)
            eventually(lambda before=before: sum(len(each.ids) for each in clients) > before + 60_000)
            eventually(lambda victims=victims: victims())
            os.kill(victims()[0], signal.SIGKILL)
        before = len(single.ids)
        eventually(lambda: len(single.ids) > before + 1000 and len(server.workers()) == 2)
        for each in clients:
            each.__exit__()
        eventually(lambda: settled(server))
        rows = fates(server)
        end(server.process)
    ids = [row["_prediction_id"] for row in logged(tmp_path / "log")]
    assert len(ids) == len({*ids}) == rows["written"] == rows["rows_total"] - rows["dropped"] - rows["lost"]
    assert len({*single.ids, *batches.ids} - {*ids}) <= rows["lost"] + rows["dropped"]
    assert not journals(tmp_path / "log")
