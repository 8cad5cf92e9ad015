"""Tables of which some rows are refused: the others are answered, and each refusal has its reason."""

import sys

import numpy as np
import pyarrow as pa
import pytest

from unpickled.server.errors import InvalidInput, OutsideTraining
from unpickled.server.frames.arrow import Tables, batches
from unpickled.server.inference.predictor import Predictor
from unpickled.server.model.policy import Policy
from unpickled.server.model.ranges import Ranges
from unpickled.server.model.session import load
from unpickled.server.scoring.scorer import Scorer


@pytest.fixture(scope="module")
def model(models):
    return load((models.path / "iris" / "1" / "model.onnx").read_bytes())


def columns(model, values):
    """Every feature with these values."""
    return dict.fromkeys(model.signature.names, values)


def test_rows_that_are_refused_leave_the_others_answered(model):
    """Each refused row has its number in the table and a reason; the others are answered as in a request."""
    values = [5.1, None, "tall", 4.9, float("inf")]
    scored = Scorer(Predictor(model, max_rows=1)).score(columns(model, values), first=1000)
    labels, scores = model.run(model.signature.feeds([[5.1] * 4, [4.9] * 4]))
    assert scored.rows.tolist() == [1000, 1003]
    assert scored.labels.tolist() == labels.tolist()
    assert np.array_equal(scored.scores, scores)
    assert [(each.row, f"row {each.row} " in str(each.error)) for each in scored.refused] == [
        (1001, True), (1002, True), (1004, True),
    ]  # fmt: skip


def test_a_policy_that_refuses_is_kept(model):
    """A row outside the training range is refused where the policy says so, by its number in the table."""
    ranges = Ranges(model.manifest, Policy(outside="refuse"))
    scorer = Scorer(Predictor(model, max_rows=1, ranges=ranges))
    rows = zip((5.1, 3.5, 1.4, 0.2), (900.0,) * 4, strict=True)
    scored = scorer.score(dict(zip(model.signature.names, map(list, rows), strict=True)), first=7)
    assert scored.rows.tolist() == [7]
    assert [each.row for each in scored.refused] == [8]
    assert isinstance(scored.refused[0].error, OutsideTraining)
    assert "row 8" in str(scored.refused[0].error)


def test_every_row_can_be_refused(model):
    """A table of which no row is taken has answers of the usual shapes, without rows."""
    scored = Scorer(Predictor(model, max_rows=1)).score(columns(model, [None] * 10_000))
    assert len(scored.refused) == 10_000
    assert (scored.rows.shape, scored.labels.shape, scored.scores.shape) == ((0,), (0,), (0, 3))


def test_a_table_that_lacks_a_feature_is_refused_as_a_whole(model):
    """A fault of the columns is an error, and no matter of rows."""
    with pytest.raises(InvalidInput, match="not given"):
        Scorer(Predictor(model, max_rows=1)).score({"sepal_length": [5.1]})


def test_arrow_batches_are_read_as_streams_are(model):
    """Integers, halves and dictionaries of an Arrow table become the numbers that a request has."""
    names = model.signature.names
    typed = [
        pa.array([5, None]),
        pa.array([3.5, 2.5], pa.float32()),
        pa.array([1, 2], pa.uint8()),
        [0.5, 0.25],
    ]
    table = pa.table({"id": ["a", "b"], **dict(zip(names, typed, strict=True))})
    tables = Tables(Predictor(model, max_rows=sys.maxsize))
    [batch] = batches(table, tables.most_rows)
    read = tables.columns(batch)
    assert list(read) == list(names)
    assert [np.asarray(read[name]).tolist() for name in names[1:]] == [[3.5, 2.5], [1.0, 2.0], [0.5, 0.25]]
    assert read[names[0]][0] == 5.0
    assert np.isnan(read[names[0]][1])
