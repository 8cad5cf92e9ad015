"""Rows that a served model has answered, read back by train: the same features, types and values."""

import io
import json
import time

import msgspec
import numpy as np
import pandas as pd
import pytest
from conftest import generated
from hypothesis import given
from hypothesis import strategies as st
from lots import cells
from tables import write

from unpickled.__main__ import main
from unpickled.export import export_pipeline
from unpickled.export.data import dataset, files
from unpickled.export.data.columns import Choices
from unpickled.export.data.layout import Layout
from unpickled.export.errors import DataError
from unpickled.export.train import train
from unpickled.server.config import Config, Log
from unpickled.server.model import dates
from unpickled.server.model.dates import moment
from unpickled.server.observe import ids
from unpickled.server.observe.intake import Intake
from unpickled.server.payloads import parts
from unpickled.server.payloads.schema import Column, Schema, schema_of
from unpickled.server.serve.routes import Routes
from unpickled.server.service import Service

ROWS = 150


def mixed(seed: int) -> pd.DataFrame:
    """A table with columns of every kind, each with gaps or without, and a target."""
    rng = np.random.default_rng(seed)
    days = pd.to_datetime("2019-03-01") + pd.to_timedelta(rng.integers(0, 2000, ROWS), unit="D")
    moments = days + pd.to_timedelta(rng.integers(0, 86_400, ROWS), unit="s")
    table = pd.DataFrame(
        {
            "time": rng.lognormal(3, 1, ROWS),
            "_label": rng.integers(-5, 200, ROWS),
            "big": rng.integers(0, 50, ROWS) * 2**53,
            "member": rng.random(ROWS) < 0.4,
            "city": rng.choice(["Köln", "", " Ulm ", 'a"b\\n', "NA", "true", "1.5"], ROWS),
            "code": rng.choice(["007", "010", "2024-01-31", "2024-02-01"], ROWS),
            "day": days.strftime("%Y-%m-%d"),
            "moment": moments.strftime("%d.%m.%Y %H:%M"),
            "zoned": moments.strftime("%Y-%m-%dT%H:%M:%S+02:00"),
            "price": [f"{value:,.2f} €" for value in rng.lognormal(8, 1, ROWS)],
        }
    )
    for name in rng.permutation(table.columns)[:5]:
        table[name] = table[name].astype(object).where(rng.random(ROWS) > 0.2, None)
    table["y"] = rng.choice(["no", "yes"], ROWS)
    return table


CHOICES = Choices(text=frozenset({"code"}), expand=True)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Makes a table of a seed, its file, and the model trained on it in a folder of its own."""

    def train_on(seed: int, suffix: str):
        home = tmp_path_factory.mktemp("mixed")
        source = write(mixed(seed), home / f"mixed{suffix}")
        table = dataset.read(source, "y", CHOICES)
        model = train(table, "standard", "logistic", 0, 0.2)
        readings = table.readings
        export_pipeline(model.pipeline, model.train, name="mixed", models=home / "models", readings=readings)
        return table, model.pipeline, Service(Config(models=str(home / "models")))

    return train_on


def log_rows(folder, served, rows, form=None):
    """Write rows, with what the model answers to them, into a payload log."""
    labels, scores = served.model.run(served.model.signature.feeds(rows))
    schema = schema_of(served, Log())
    written = cells(schema, rows, labels.tolist(), scores.tolist(), time=time.time())
    parts.write(folder, schema, written, "a", form)
    return schema


def features(table):
    """The reading of each feature, without what is said of this file alone."""
    return {
        reading.name: (reading.kind, reading.missing, reading.notation)
        for reading in table.readings
        if reading.role == "feature"
    }


def check_alike(again, table, pipeline):
    """The same columns of the same kinds with equal values, also as the layout of a pipeline sees them."""
    pd.testing.assert_frame_equal(again.features, table.features)
    assert features(again) == features(table)
    assert Layout.of(pipeline, again.features) == Layout.of(pipeline, table.features)


# Two of them are of different forms in both places.
SEEDS = [0, 3, *(pytest.param(seed, marks=pytest.mark.long) for seed in (1, 2, *range(4, 40)))]


@pytest.mark.parametrize("seed", SEEDS)
def test_logged_rows_are_the_training_table(trained, tmp_path, seed):
    """Rows of a mixed table, predicted and logged, are read back as the training table."""
    table, pipeline, service = trained(seed, (".csv", ".parquet")[seed % 2])
    served = service.repository.find("mixed")
    frame = table.features[list(served.model.signature.names)]
    rows = [tuple(None if pd.isna(cell) else cell for cell in row) for row in frame.itertuples(index=False)]
    schema = log_rows(tmp_path, served, rows, ("parquet", "jsonlines")[seed // 2 % 2])
    check_alike(dataset.read(tmp_path, schema.name("label")), table, pipeline)
    assert len(schema.features) >= 9


class Keeper:
    """A consumer that logs what it gets."""

    name = "keeper"

    def __init__(self, served, prefix, folder) -> None:
        self._schema, self._prefix, self._folder, self._cells = schema_of(served, Log()), prefix, folder, []

    def consume(self, lot) -> None:
        first = {"number": lot.numbers[0], "time": lot.times[0], "prefix": self._prefix}
        self._cells += cells(self._schema, lot.rows, lot.labels, lot.scores, **first)

    def rest(self) -> None:
        pass

    def close(self) -> None:
        parts.write(self._folder, self._schema, self._cells, "a")


def test_requests_are_logged_as_the_training_table(trained, tmp_path):
    """Rows that clients send as JSON, dates as text and truth values as such, are read back alike too."""
    table, pipeline, service = trained(1, ".parquet")
    served = service.repository.find("mixed")
    keeper = Keeper(served, ids.prefix(service.block), tmp_path)
    intake = Intake(service.block, [keeper])
    routes = Routes(service.repository, service.block, service.slots, service.routes._gate, intake=intake)
    names = list(served.model.signature.names)
    raw = mixed(1)[names].astype(object).where(mixed(1)[names].notna(), None)
    for rows in (raw[:1], raw[1:]):
        body = json.dumps({"instances": rows.to_dict("records")}).encode()
        environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/predict", "CONTENT_LENGTH": str(len(body))}
        status, _, content = routes.targets["/predict"](environ | {"wsgi.input": io.BytesIO(body)})
        assert status == "200 OK", content
    intake.close()
    check_alike(dataset.read(tmp_path, "__label"), table, pipeline)


KINDS = {"time": "double", "member": "bool", "city": "text", "day": "date", "moment": "datetime"}
CELLS = {
    "time": st.none() | st.floats(-1e300, 1e300),
    "member": st.none() | st.sampled_from([True, False, 1.0, 0.0]) | st.floats(0, 1),
    "city": st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    "day": st.none() | st.integers(-700_000, 2_900_000).map(lambda day: day * 86_400.0) | st.just(-1.0),
    "moment": st.none() | st.integers(int(dates.FIRST), int(dates.LAST)).map(float),
}  # fmt: skip


SCHEMA = Schema(
    model="mixed",
    version=1,
    sha256="",
    columns=(
        Column(name="_time", kind="timestamp", part="time"),
        Column(name="_shadow", kind="int64", part="shadow"),
        *(
            Column(name=name, kind=kind, part="feature", place=place)
            for place, (name, kind) in enumerate(KINDS.items())
        ),
    ),
)


@pytest.mark.parametrize("form", ["parquet", "jsonlines"])
@generated(60)
@given(rows=st.lists(st.tuples(*CELLS.values()), min_size=1, max_size=20), chunk=st.integers(1, 20))
def test_any_cell_is_read_back(tmp_path, form, rows, chunk):
    """Whatever a request sent is in the file, even what is unlike training: half of a truth value."""
    answered = cells(SCHEMA, rows, [""] * len(rows), [()] * len(rows))
    written = [(i, None, *cell[6 : 6 + len(CELLS)]) for i, cell in enumerate(answered)]
    [path] = parts.write(tmp_path, SCHEMA, written, "a", form)
    assert list(parts.reader(path).rows(path, SCHEMA, chunk)) == written
    source = files.load(path)
    assert list(source.columns["city"]) == [row[2] for row in rows]
    assert [None if pd.isna(cell) else float(cell) for cell in source.columns["member"]] == [
        row[1] if row[1] is None else float(row[1]) for row in rows
    ]
    assert [seconds(cell) for cell in source.columns["day"]] == [row[3] for row in rows]
    assert [seconds(cell) for cell in source.columns["moment"]] == [row[4] for row in rows]


def seconds(cell):
    """The seconds since 1970 of a date; None for a missing one."""
    if cell is None or pd.isna(cell):
        return None
    return moment(cell.isoformat(), "year first").seconds


@pytest.fixture
def people(models, tmp_path, monkeypatch):
    """The people model, in a folder with a log of its training rows."""
    monkeypatch.chdir(tmp_path)
    served = Service(Config(models=str(models.path))).repository.find("people")
    table = models.rows["people"]
    rows = [tuple(None if pd.isna(cell) else cell for cell in row) for row in table.itertuples(index=False)]
    log_rows(tmp_path / "log", served, rows)
    return served


@pytest.mark.parametrize("data", ["log", "log/people", "log/people/date=*/*", "one file"])
def test_train_reads_a_log(people, tmp_path, capsys, data):
    """A log, that of a model, a pattern and one file are one table; our own columns are no features."""
    data = str(parts.find(tmp_path / "log")[0].path) if data == "one file" else data
    assert main(["train", "--data", data, "--target", "_label", "--name", "again", "--models", "new"]) == 0
    printed = capsys.readouterr().out
    assert "200 rows of a payload log, to which people version 1 answered.\n" in printed
    manifest = Service(Config(models="new")).repository.find("again").model.manifest
    assert manifest.features[0].name == "age"
    assert [feature.name for feature in manifest.features] == list(people.model.signature.names)
    assert manifest.unused == ("_label",)


def test_a_score_or_a_feature_may_be_the_target(people, tmp_path):
    """A number that was predicted, or any feature, is a target like that of another table."""
    score = dataset.read("log", "_score_stays")
    assert (score.task, list(score.features)) == ("regression", ["age", "income", "city", "plan"])
    assert list(dataset.read("log", "income").features) == ["age", "city", "plan"]
    with pytest.raises(DataError, match="no column 'label': did you mean '_label'"):
        dataset.read("log", "label")


def test_what_a_shadow_answered_is_left_out(people, tmp_path):
    """Each row that a client sent is there once."""
    schema = schema_of(people, Log())
    row = (1.0, 2.0, "Bonn", "pro")
    rows = cells(schema, [row], ["stays"], [[0.0, 1.0]], number=900, time=time.time(), shadow=2)
    parts.write(tmp_path / "log", schema, rows, "b")
    assert len(dataset.read("log", "_label").labels) == 200


def test_other_columns_are_left_out_and_named(people, tmp_path):
    """Rows of a version of which other columns are logged are not mixed with the newest one's."""
    schema = schema_of(people, Log(log_columns=("age", "income")))
    older = msgspec.structs.replace(schema, version=0)
    rows = cells(older, [(1.0, 2.0, "", "")], ["stays"], [[0.0, 1.0]], time=time.time(), version=0)
    parts.write(tmp_path / "log", older, rows, "b")
    notes = dataset.read("log", "_label").notes
    assert notes[0] == "200 rows of a payload log, to which people version 1 answered."
    assert notes[1] == (
        "Rows of version 0 left out, as other columns are logged of them: 'city', 'plan' differ."
    )


def test_what_is_no_log_is_refused(people, tmp_path):
    """Rows of two models, folders of other files and patterns of other tables have a sentence each."""
    other = msgspec.structs.replace(schema_of(people, Log()), model="iris")
    parts.write(tmp_path / "log", other, [], "b")
    rows = cells(other, [(1.0, 2.0, "", "")], ["stays"], [[0.0, 1.0]], time=1.0)
    parts.write(tmp_path / "log", other, rows, "b")
    (tmp_path / "empty").mkdir()
    write(pd.DataFrame({"x": [1]}), tmp_path / "plain.parquet")
    for data, sentence in {
        "log": "log holds the rows of 2 models: name one of them, such as log/iris",
        "empty": "empty is a directory without files of a payload log: name a file",
        "*.parquet": "names tables that are of no payload log: name one file",
        "*.csv": "There is no file \\*.csv",
    }.items():
        with pytest.raises(DataError, match=sentence):
            files.load(data)
