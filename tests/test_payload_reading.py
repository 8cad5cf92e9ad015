"""The payload log, read back in batches."""

import numpy as np
import pytest
from test_payload_files import ANSWERS, NOON, ROWS, cells_of

from unpickled.server.config import Config, Log
from unpickled.server.errors import ServingError
from unpickled.server.payloads import parts, reading
from unpickled.server.payloads.schema import schema_of
from unpickled.server.service import Service

DAY = 86_400.0


@pytest.fixture(scope="module")
def repository(models):
    return Service(Config(models=str(models.path))).repository


@pytest.fixture
def schema(repository):
    """That of the people model."""
    return schema_of(repository.find("people"), Log())


@pytest.fixture(params=["parquet", "jsonlines"])
def folder(request, tmp_path, schema):
    """A log with two rows of each of three days."""
    for day in range(3):
        cells = cells_of(schema, ROWS, **ANSWERS, time=NOON + day * DAY, number=10 * day)
        parts.write(tmp_path, schema, cells, "a", request.param)
    return tmp_path


def ids(batches):
    return [text.rpartition("-")[2] for batch in batches for text in batch.column("prediction_id")]


def test_columns_are_arrays(folder, schema):
    """Numbers are float64 with NaN, text has None, and scores are a matrix."""
    batch, *others = reading.read(folder, "people")
    assert (len(batch), len(others), batch.schema) == (2, 2, schema)
    assert batch.column("time").tolist() == [int(NOON * 1e6)] * 2
    assert np.isnan(batch.columns["age"]).tolist() == [False, True]
    assert batch.columns["city"].tolist() == [row[2] for row in ROWS]
    assert batch.column("label").tolist() == ANSWERS["labels"]
    assert batch.scores.tolist() == ANSWERS["scores"]
    assert np.isnan(batch.column("shadow")).all()
    assert batch.column("version").dtype == np.int64


@pytest.mark.parametrize(
    ("since", "until", "numbers"),
    [
        (None, None, ["0", "1", "10", "11", "20", "21"]),
        (NOON + DAY, None, ["10", "11", "20", "21"]),
        (NOON + 1e-6, NOON + DAY, []),
        (NOON, NOON + DAY, ["0", "1"]),
        (None, NOON, []),
    ],
)
def test_a_time_is_chosen(folder, since, until, numbers):
    """The first moment is in, the last one is not."""
    assert ids(reading.read(folder, "people", since, until)) == numbers


def test_columns_are_chosen(folder):
    """Features that are not asked for are not read."""
    batch = next(reading.read(folder, "people", columns=["plan", "absent"]))
    assert [column.name for column in batch.schema.features if column.name in batch.columns] == ["plan"]
    assert ids(reading.read(folder, "iris")) == []


def test_a_damaged_part_is_named(folder):
    """A file that cannot be read is no silent gap."""
    part = parts.find(folder)[1]
    part.path.write_bytes(part.path.read_bytes()[:-50])
    with pytest.raises(ServingError, match=f"{part.path} cannot be read: .*Remove it to go on without it"):
        ids(reading.read(folder, "people"))


def test_regressors_have_numbers_and_no_label(regressors, tmp_path):
    """The number of each target is a score; there is no label."""
    served = Service(Config(models=str(regressors.path))).repository.find("areas")
    schema = schema_of(served, Log())
    cells = cells_of(schema, [(1.0, 2.0, 3.0, 4.0)], [0], [[2.0, 12.0]])
    parts.write(tmp_path, schema, cells, "a")
    [batch] = reading.read(tmp_path, "areas")
    assert [column.name for column in schema.all("score")] == ["_predicted_sepal", "_predicted_petal"]
    assert batch.scores.tolist() == [[2.0, 12.0]]
    with pytest.raises(KeyError):
        batch.column("label")
