"""unpickled consume with real brokers: answers, dead letters, groups, ends in the middle of work."""

import json
import urllib.request
from collections import Counter
from pathlib import Path

import pytest
from brokers import FLOWER_BODY, brokers, consuming, running
from conftest import PATIENCE, eventually, free_port, run, shelve
from prometheus_client.parser import text_string_to_metric_families as parse

from unpickled.server.app import flask_app


def flowers(count: int) -> list[bytes]:
    """Messages that differ."""
    return [b'{"features": [%d.%d, 3.5, 1.4, 0.2]}' % (4 + n % 4, n // 4) for n in range(count)]


@pytest.fixture(scope="module", params=brokers())
def broker(request, tmp_path_factory):
    """A broker that lives as long as the tests here."""
    with running(request.param, tmp_path_factory.mktemp(request.param)) as broker:
        yield broker
