"""A soak in short, and the books that it keeps."""

import sys
from collections import Counter

import numpy as np
import pytest
from conftest import ROOT, run

from benchmarks.soak.clients import Account, Lost
from benchmarks.soak.counts import differences
from benchmarks.soak.truth import Pipeline

METRICS = """
unpickled_requests_total{model="iris",route="/predict",status="200",version="1"} 7.0
unpickled_requests_total{model="iris",route="/predict",status="400",version="1"} 2.0
unpickled_requests_total{model="iris",route="/predict",status="400",version="2"} 1.0
unpickled_requests_total{model="",route="/livez",status="200",version=""} 9.0
unpickled_rows_total{model="iris",version="1"} 70.0
"""


def account(good: int, rows: int, lost: int = 0) -> Account:
    """Clients with so many right answers and rows, three refusals, and losses of ten rows each."""
    requests = Counter({("/predict", 200, "1"): good, ("/predict", 400, ""): 3})
    losses = [Lost(0.0, "/predict", 1, 10, "reset") for _ in range(lost)]
    return Account(requests, Counter({"1": rows}), lost=losses)


def test_equal_counts():
    """Counts of routes that nobody asked are left out, and refusals of all versions count together."""
    assert differences(account(7, 70), METRICS) == []


def test_a_lost_answer_may_have_been_counted():
    """The server may have counted a request whose answer was lost, and no more than those."""
    assert differences(account(6, 60, lost=1), METRICS) == []
    assert len(differences(account(6, 60), METRICS)) == 2
    assert len(differences(account(5, 60, lost=1), METRICS)) == 1


def test_a_server_that_forgets_is_found():
    """The server never counts less than its clients."""
    (sentence,) = differences(account(8, 70, lost=5), METRICS)
    assert sentence == "requests of ('/predict', 200, '1'): 1 fewer than the clients' 8"


def test_the_pipeline_has_the_last_word():
    """An answer fits if labels and probabilities are the pipeline's own; the label of a tie may be either."""
    pipeline = Pipeline([0, 1, 1], np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]]))
    rows = np.array([[0.2, 0.8], [0.5, 0.5]])
    assert pipeline.fits(1, [1, 0], rows, 2)
    assert pipeline.fits(1, None, rows, 2)
    assert not pipeline.fits(1, [0, 1], rows, 2)
    assert not pipeline.fits(1, [1], rows, 2)
    assert not pipeline.fits(0, None, rows, 2)
    assert not pipeline.fits(1, [1, 0], None, 2)


@pytest.mark.long
def test_a_minute_of_everything():
    """A minute of every protocol, wrong requests, changes and two kills: nothing is wrong."""
    command = [sys.executable, "-m", "benchmarks", "soak", "--minutes", "1"]
    completed = run(command, cwd=ROOT)
    assert completed.returncode == 0, completed.stdout + completed.stderr
    assert "2 kills" in completed.stdout
    assert "counts are equal" in completed.stdout
    assert "soaked: nothing is wrong" in completed.stdout
