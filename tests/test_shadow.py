"""A shadow repeats the predictions of other versions off their path, and counts the differences."""

import gc
import logging
import math
import sys
import threading
import weakref
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import handmade
import numpy as np
import pytest
from conftest import FLOWER, PERSON, ROOT, eventually, run
from msgspec.structs import replace
from onnx import helper

from unpickled.server.inference.prediction import Prediction
from unpickled.server.lifecycle.versions import Served
from unpickled.server.model import session as model
from unpickled.server.observe.counters import Memory
from unpickled.server.observe.shadow import (
    BOUNDS,
    BUCKETS,
    DIFFERENT,
    DISTANCE,
    DROPPED,
    LOST,
    NUMBERS,
    PAIR,
    REFUSED,
    RELATIVE,
    SAME,
    SIZE,
    Shadow,
)

SIGN = handmade.embed(handmade.graph())
SCORES = replace(handmade.MANIFEST.outputs, kind="scores")
# Rows on which a shadow is busy for ten seconds: longer than any thread of a test is held up.
MANY = 3_000_000
# The logarithm of a negative number is NaN.
LOGARITHM = [
    helper.make_node("Log", ["X"], ["y"]),
    helper.make_node("Concat", ["y", "y"], ["probabilities"], axis=1),
]
BUSY = """
import sys, time
from pathlib import Path
from unpickled.server.inference.prediction import Prediction
from unpickled.server.model import session as model
from unpickled.server.observe.counters import Memory
from unpickled.server.observe.shadow import Shadow
from unpickled.server.lifecycle.versions import Served
data = Path(sys.argv[1]).read_bytes()
one, two = [
    Served(name="iris", version=version, model=model.load(data), sha256="", size=0, load_seconds=0.0)
    for version in (1, 2)
]
shadow = Shadow(two, 1.0, 10, Memory(1).claim())
rows = 1_000_000
many = [(5.1, 3.5, 1.4, 0.2)] * rows, [0] * rows, [(1.0, 0.0, 0.0)] * rows
shadow.observe(one, Prediction(b"", 0.0, 0.0, *many))
time.sleep(0.2)
"""


def served(data, version):
    """A version of iris with the content, or the folder, of a model."""
    if isinstance(data, Path):
        data = (data / "1" / "model.onnx").read_bytes()
    return Served(
        name="iris", version=version, model=model.load(data), sha256="", size=len(data), load_seconds=0.0
    )


@pytest.fixture(scope="module")
def iris(models):
    return served(models.path / "iris", 1)


@pytest.fixture(scope="module")
def forest(models):
    return served(models.path / "forest", 2)


@pytest.fixture
def block():
    return Memory(blocks=1).claim()


@contextmanager
def shadowing(candidate, block, share=1.0, most_rows=10_000):
    """A shadow, whose thread has ended after the block: it counts the parts of a comparison one by one."""
    before = {*threading.enumerate()}
    shadow = Shadow(candidate, share, most_rows, block)
    threads = {*threading.enumerate()} - before
    try:
        yield shadow
    finally:
        shadow.close()
        for thread in threads:
            thread.join()


def counts(block, primary, shadow):
    """(classes, SIZE) numbers, in the order of the primary version's classes."""
    names = primary.model.manifest.class_names
    key = (PAIR, "iris", str(primary.version), str(shadow.version))
    return np.array([block.series((*key, name), SIZE) for name in names])


def compared(block, primary, shadow):
    """The number of rows that were compared."""
    return counts(block, primary, shadow)[:, [SAME, DIFFERENT]].sum()


def lost(block, shadow):
    """The numbers of dropped requests and of refused rows."""
    return list(block.series((LOST, "iris", str(shadow.version)), 2))


def ask(version, rows):
    """Rows, labels and scores of a prediction."""
    checked = [tuple(version.model.signature.check_row(list(row), 0)) for row in rows]
    labels, scores = version.model.run(version.model.signature.feeds(checked))
    return checked, labels.tolist(), scores


def repeated(rows, labels, scores):
    """A prediction of so many equal rows, whose scores take the memory of one."""
    return rows * MANY, labels * MANY, np.broadcast_to(scores, (MANY, scores.shape[1]))


def offer(shadow, primary, rows, labels, scores):
    """Show the shadow a prediction of the primary version."""
    shadow.observe(primary, Prediction(b"", 0.0, 0.0, rows, labels, scores))


def offer_by_row(shadow, primary, rows, labels, scores):
    """Show the shadow each row as a prediction of its own."""
    for row, label, figures in zip(rows, labels, scores.tolist(), strict=True):
        offer(shadow, primary, (row,), (label,), (tuple(figures),))


def test_what_is_counted(iris, forest, block):
    """Agreement and distances, by class answered, are those that numpy computes for the same rows."""
    flowers = np.random.default_rng(0).uniform([4, 2, 1, 0], [8, 4.5, 7, 2.5], (900, 4)).tolist()
    rows, labels, scores = ask(iris, flowers)
    _, shadow_labels, shadow_scores = ask(forest, flowers)
    with shadowing(forest, block) as shadow:
        offer_by_row(shadow, iris, rows[:300], labels[:300], scores[:300])
        offer(shadow, iris, rows[300:], labels[300:], scores[300:])
        eventually(lambda: compared(block, iris, forest) == 900)
    distances = abs(scores - shadow_scores).sum(axis=1) / 2
    agreeing = np.equal(labels, shadow_labels)
    assert 0 < agreeing.sum() < 900
    for label, counted in enumerate(counts(block, iris, forest)):
        of_class = np.equal(labels, label)
        assert counted[SAME] == (agreeing & of_class).sum()
        assert counted[DIFFERENT] == (~agreeing & of_class).sum()
        assert counted[DISTANCE] == pytest.approx(distances[of_class].sum())
        within = [(distances[of_class] <= bound).sum() for bound in BOUNDS]
        assert counted[BUCKETS:].cumsum().tolist() == within
    assert lost(block, forest) == [0, 0]


def test_several_primaries(iris, models, forest, block):
    """In split traffic, the shadow is compared with each version on its own."""
    third = served(models.path / "iris", 3)
    with shadowing(forest, block) as shadow:
        for _ in range(30):
            offer(shadow, iris, *ask(iris, [FLOWER]))
            offer(shadow, third, *ask(third, [FLOWER, FLOWER]))
        eventually(lambda: compared(block, third, forest) == 60)
    assert compared(block, iris, forest) == 30


def test_categories_and_gaps(models, block):
    """Rows with categories and missing values are compared, and labels that are text."""
    primary, candidate = served(models.path / "people", 1), served(models.path / "people", 2)
    rows = [[None, *list(PERSON.values())[1:]], [41.0, 10.0, "Ulm", "free"]] * 3
    with shadowing(candidate, block) as shadow:
        offer(shadow, primary, *ask(primary, rows))
        eventually(lambda: compared(block, primary, candidate) == 6)
    assert counts(block, primary, candidate)[:, BUCKETS].sum() == 6
    assert counts(block, primary, candidate)[:, DIFFERENT].sum() == 0


def test_refused_rows(iris, forest, block):
    """Rows that the shadow refuses are counted, and the rows around them are compared."""
    rows, labels, scores = ask(iris, [FLOWER] * 20)
    rows[3], rows[17] = (1e300, 3.5, 1.4, 0.2), (5.1, 3.5, -1e300, 0.2)
    with shadowing(forest, block) as shadow:
        offer(shadow, iris, rows, labels, scores)
        eventually(lambda: compared(block, iris, forest) == 18)
        eventually(lambda: lost(block, forest)[REFUSED] == 2)


def test_an_answer_that_is_no_number(block):
    """A row for which the shadow computes NaN counts as refused."""
    nodes = [*LOGARITHM, handmade.NODES[2]]
    golden = replace(handmade.MANIFEST.golden, rows=((1.0,), (1.0,)), labels=(0, 0), scores=((0.0, 0.0),) * 2)
    primary = served(handmade.embed(handmade.graph()), 1)
    candidate = served(handmade.embed(handmade.graph(nodes), golden=golden), 2)
    with shadowing(candidate, block) as shadow:
        offer(shadow, primary, *ask(primary, [[-1.0], [1.0], [-2.0]]))
        eventually(lambda: compared(block, primary, candidate) == 1)
        eventually(lambda: lost(block, candidate)[REFUSED] == 2)
        offer(shadow, primary, *ask(primary, [[-1.0]]))
        eventually(lambda: lost(block, candidate)[REFUSED] == 3)


def test_other_classes(block):
    """Distances cover the classes of both versions; a class that one lacks has probability 0 there."""
    primary = served(handmade.embed(handmade.graph()), 1)
    node = helper.make_node("Where", ["positive", "low", "high"], ["probabilities"])
    label = helper.make_node("Where", ["positive", "one", "three"], ["found"])
    flat = helper.make_node("Reshape", ["found", "all"], ["label"])
    graph = handmade.graph([handmade.NODES[0], node, label, flat], one=[[1]], three=[[3]], all=[-1])
    golden = replace(handmade.MANIFEST.golden, labels=(3, 1), scores=((0.25, 0.75), (0.75, 0.25)))
    candidate = served(handmade.embed(graph, classes=(1, 3), class_names=("one", "three"), golden=golden), 2)
    with shadowing(candidate, block) as shadow:
        offer(shadow, primary, *ask(primary, [[-1.0], [1.0], [1.0]]))
        eventually(lambda: compared(block, primary, candidate) == 3)
    negative, positive = counts(block, primary, candidate)
    # Classes 0, 1, 3: (.75, .25, 0) against (0, .25, .75), and (.25, .75, 0) against (0, .75, .25).
    assert [*negative[:BUCKETS]] == [0, 1, 0.75]
    assert [*positive[:BUCKETS]] == [2, 0, 0.5]


@pytest.mark.parametrize("kinds", [("scores", "probabilities"), ("probabilities", "scores")])
def test_no_probabilities(block, kinds):
    """If one of the versions has decision scores, only labels are compared."""
    outputs = [replace(SCORES, kind=kind) for kind in kinds]
    data = [handmade.embed(handmade.graph(), outputs=output) for output in outputs]
    primary, candidate = served(data[0], 1), served(data[1], 2)
    with shadowing(candidate, block) as shadow:
        offer(shadow, primary, *ask(primary, [[-1.0], [1.0]]))
        eventually(lambda: compared(block, primary, candidate) == 2)
    assert counts(block, primary, candidate)[:, DISTANCE:].sum() == 0


def numbers_of(factor, version, **outputs):
    """A version that answers ``factor`` times a number."""
    nodes = [helper.make_node("Sum", ["X"] * factor, ["prediction"])]
    scores = tuple((factor * row[0],) for row in handmade.NUMBERS.golden.rows)
    golden = replace(handmade.NUMBERS.golden, scores=scores)
    changed = replace(handmade.NUMBERS.outputs, **outputs)
    return served(handmade.regressor(nodes, golden=golden, outputs=changed), version)


def test_numbers(block):
    """Numbers are compared by the absolute difference, in shares of the usual range, and by the relative."""
    primary, candidate = numbers_of(2, 1), numbers_of(3, 2)
    rows = [[0.0], [1e-8], [0.03], [0.5], [-40.0]]
    with shadowing(candidate, block) as shadow:
        offer(shadow, primary, *ask(primary, rows))
        key = ("iris", "1", "2")
        rows_compared = block.series((PAIR, *key, ""), DISTANCE)
        eventually(lambda: sum(rows_compared) == 5)
    assert [*rows_compared] == [2, 3]
    # The deciles are -2, 0 and 2: the bounds are shares of 4.
    bounds = [0.004, 0.012, 0.04, 0.12, 0.4, 1.2, 4.0]
    size = len(bounds) + 2
    counted = [*block.series((NUMBERS, *key, "price", *map(str, bounds)), size + len(RELATIVE) + 2)]
    assert counted[:size] == [2, 0, 1, 0, 0, 1, 0, 1, pytest.approx(40.53)]
    # |difference| / max(1, |answer|): 0, 1e-8, 0.03, 0.5 and 0.5.
    assert [sum(counted[size : size + place]) for place in (1, 2, 7, 8, 11)] == [1, 2, 2, 3, 5]
    assert counted[-1] == pytest.approx(1.03)


def test_a_difference_far_out_does_not_spoil_the_sum(block):
    """The sums take a difference of 1e300 as a thousand times their last bound."""
    primary, candidate = numbers_of(2, 1), numbers_of(3, 2)
    with shadowing(candidate, block) as shadow:
        offer(shadow, primary, *ask(primary, [[1e300], [1.0]]))
        rows_compared = block.series((PAIR, "iris", "1", "2", ""), DISTANCE)
        eventually(lambda: sum(rows_compared) == 2)
    [key] = [key for key in [*block.keys()] if key[0] == NUMBERS]
    counted = [*block.series(key, 9 + len(RELATIVE) + 2)]
    assert counted[8] == 4000.0 + 1.0


@pytest.mark.parametrize(("spans", "same"), [((), 3), (((0.0, 1e-3),), 2), (((0.0, 1e-9),), 1)])
def test_numbers_that_vary_little_are_the_same_if_they_differ_by_less(block, spans, same):
    """Rows agree up to a millionth of the number's size, which is that of its target's span."""
    primary, candidate = numbers_of(2, 1, spans=spans), numbers_of(3, 2)
    with shadowing(candidate, block) as shadow:
        offer(shadow, primary, *ask(primary, [[0.0], [1e-7], [1e-10]]))
        rows_compared = block.series((PAIR, "iris", "1", "2", ""), DISTANCE)
        eventually(lambda: sum(rows_compared) == 3)
    assert rows_compared[SAME] == same


@pytest.mark.parametrize("other", ["classes", "targets"])
def test_no_common_numbers(block, other):
    """A shadow of another kind, or with other targets, agrees in no row, and no distance is counted."""
    primary = numbers_of(2, 1)
    candidate = numbers_of(2, 2, targets=("cost",)) if other == "targets" else served(SIGN, 2)
    with shadowing(candidate, block) as shadow:
        offer(shadow, primary, *ask(primary, [[-1.0], [1.0]]))
        series = block.series((PAIR, "iris", "1", "2", ""), SIZE)
        eventually(lambda: series[DIFFERENT] == 2)
    assert sum(series) == 2
    assert NUMBERS not in [kind for kind, *_ in [*block.keys()]]


def test_numbers_in_place_of_classes(block):
    """A regressor behind a classifier agrees in no row."""
    primary, candidate = served(SIGN, 1), numbers_of(2, 2)
    with shadowing(candidate, block) as shadow:
        offer(shadow, primary, *ask(primary, [[-1.0], [0.0], [1.0]]))
        eventually(lambda: compared(block, primary, candidate) == 3)
    assert counts(block, primary, candidate)[:, DIFFERENT].sum() == 3


def test_too_much(iris, forest, block):
    """While enough rows wait, further requests are dropped and counted, and do not wait."""
    rows, labels, scores = ask(iris, [FLOWER])
    with shadowing(forest, block, most_rows=10) as shadow:
        offer(shadow, iris, *repeated(rows, labels, scores))
        for _ in range(100):
            offer(shadow, iris, rows, labels, scores)
        assert lost(block, forest)[DROPPED] == 100


def test_the_bound_is_one(iris, forest, block):
    """A request that would exceed the bound of waiting rows is dropped, however few wait."""
    many = repeated(*ask(iris, [FLOWER]))
    with shadowing(forest, block, most_rows=MANY) as shadow:
        for _ in range(2):
            offer(shadow, iris, *many)
        assert lost(block, forest)[DROPPED] == 1


def test_ending_in_the_middle_of_a_request(iris, forest, block):
    """A request that a closed shadow has not finished counts as dropped."""
    with shadowing(forest, block, most_rows=10) as shadow:
        offer(shadow, iris, *repeated(*ask(iris, [FLOWER])))
        eventually(lambda: compared(block, iris, forest))
    assert lost(block, forest)[DROPPED] == 1
    assert compared(block, iris, forest) < MANY


def test_its_share(models, iris, forest, block):
    """A shadow takes its share of all requests, and none that its own version answered."""
    offered, last = ask(iris, [FLOWER]), served(models.path / "iris", 3)
    with shadowing(forest, block, share=0.3) as shadow:
        for _ in range(5000):
            offer(shadow, forest, *offered)
            offer(shadow, iris, *offered)
        for _ in range(100):
            offer(shadow, last, *offered)
        # Requests that still wait when the shadow is closed are dropped.
        eventually(lambda: compared(block, last, forest) and not shadow._waiting)
    assert abs(compared(block, iris, forest) - 1500) < 5 * math.sqrt(5000 * 0.3 * 0.7)
    assert lost(block, forest) == [0, 0]


def test_failures_stay_its_own(iris, forest, block, caplog):
    """A failed comparison is logged once, its rows count as refused, and the next rows are compared."""
    rows, labels, scores = ask(iris, [FLOWER])
    unknown = ["a label that iris has not"]
    with shadowing(forest, block) as shadow, caplog.at_level(logging.ERROR, "unpickled"):
        offer(shadow, iris, rows, unknown, scores)
        eventually(lambda: lost(block, forest)[REFUSED] == 1)
        offer(shadow, iris, rows * 2, unknown * 2, [*scores, *scores])
        eventually(lambda: lost(block, forest)[REFUSED] == 3)
        offer(shadow, iris, rows, labels, scores)
        eventually(lambda: compared(block, iris, forest) == 1)
    assert [record.message.split(",")[0] for record in caplog.records] == ["version 2 of iris"]


@pytest.mark.parametrize("closed", [True, False])
def test_it_lets_go(models, iris, block, closed):
    """A shadow that is closed, or no longer referenced, ends its thread and frees its model."""
    candidate = served(models.path / "forest", 2)
    freed = weakref.ref(candidate.model)
    before = threading.enumerate()
    shadow = Shadow(candidate, 1.0, 10_000, block)
    (thread,) = {*threading.enumerate()}.difference(before)
    offer(shadow, iris, *ask(iris, [FLOWER]))
    if closed:
        shadow.close()
        offer(shadow, iris, *ask(iris, [FLOWER]))
    else:
        del shadow
    del candidate
    eventually(lambda: gc.collect() >= 0 and freed() is None)
    eventually(lambda: not thread.is_alive())


def test_it_lets_go_of_primaries(models, forest, block):
    """A version that answers no more is freed, although it has been compared."""
    primary = served(models.path / "iris", 1)
    freed = weakref.ref(primary.model)
    with shadowing(forest, block) as shadow:
        offer(shadow, primary, *ask(primary, [FLOWER]))
        eventually(partial(compared, block, primary, forest))
        del primary
        eventually(lambda: gc.collect() >= 0 and freed() is None)


def test_the_interpreter_ends(models):
    """A process whose shadow is busy ends with status 0."""
    command = [sys.executable, "-c", BUSY, models.path / "iris" / "1" / "model.onnx"]
    completed = run(command, cwd=ROOT)
    assert (completed.returncode, completed.stderr) == (0, "")
